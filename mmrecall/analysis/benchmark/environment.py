"""The circumstances of a measurement, and the files that begin with them."""

import json
import os
import platform
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from mmrecall import __version__
from mmrecall.analysis.trained_runs import check_device
from mmrecall.io import atomic_write
from mmrecall.upstream import installed_versions


def check_arguments(device: str, **numbers: float) -> None:
    """Check options of a command line.

    Raises:
        ValueError: a number is not above 0, or the device is ``'cuda'`` without a GPU.

    Example:
        >>> check_arguments('cpu', rounds=25, max_seconds=0)
        Traceback (most recent call last):
        ValueError: got --max-seconds 0; expected a number above 0
    """
    for name, number in numbers.items():
        if not number > 0:
            raise ValueError(f'got --{name.replace("_", "-")} {number}; expected a number above 0')
    check_device(device)


def describe_environment(command: str, device: str) -> dict[str, Any]:
    """Return the command, the date, the versions of the packages, the machine and the number of threads."""
    return {
        'command': command,
        'date': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'versions': {'python': platform.python_version(), 'mmrecall': __version__, **installed_versions()},
        'machine': _machine(device),
        'threads': torch.get_num_threads(),
    }


def _machine(device: str) -> dict[str, Any]:
    found = {
        'platform': platform.platform(),
        'processor': _processor(),
        'cores': os.cpu_count(),
        'load average before': os.getloadavg()[0] if hasattr(os, 'getloadavg') else None,
    }
    if device == 'cuda':
        found['gpu'] = f'{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}'
    return found


def _processor() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    except OSError:
        lines = []
    models = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    return models[0] if models else platform.processor() or platform.machine()


def write_results(folder: Path, name: str, environment: dict[str, Any], tables: str, **content: Any) -> None:
    """Write ``NAME.md``, with tables in Markdown, and ``NAME.json``, with other content, both after the environment."""
    with atomic_write(folder / f'{name}.md') as partial:
        partial.write_text(f'{_markdown(environment)}\n{tables}', encoding='utf-8')
    with atomic_write(folder / f'{name}.json') as partial:
        partial.write_text(json.dumps({**environment, **content}, indent=1) + '\n', encoding='utf-8')


def _markdown(environment: dict[str, Any]) -> str:
    machine = environment['machine']
    where = [machine['gpu']] if 'gpu' in machine else []
    where += [f'{machine["processor"]}, {environment["threads"]} of {machine["cores"]} cores']
    load = machine['load average before']
    where += [] if load is None else [f'load {load:.1f} before']
    versions = ', '.join(f'{name} {number}' for name, number in environment['versions'].items())
    return f'{"; ".join(where)}; {versions}; {environment["date"]}.\n\n    {environment["command"]}\n'
