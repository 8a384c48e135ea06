"""What a measurement depends on beside the code."""

import os
import platform
import shlex
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

_TOOLBOXES = ('mmengine', 'mmcv', 'mmsegmentation', 'mmpretrain')
_PACKAGES = ('torch', 'numpy', 'mmrecall', *_TOOLBOXES, *(f'onedl-{name}' for name in _TOOLBOXES))


def describe_environment(arguments: Sequence[str], device: str) -> dict[str, Any]:
    """Versions, machine, threads and command."""
    return {
        'command': shlex.join(['python', *arguments]),
        'date': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'versions': {'python': platform.python_version(), **_versions()},
        'machine': _machine(device),
        'threads': torch.get_num_threads(),
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


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


def environment_markdown(environment: dict[str, Any]) -> str:
    """Two lines: where it ran, and the command."""
    machine = environment['machine']
    where = [machine['gpu']] if 'gpu' in machine else []
    where += [f'{machine["processor"]}, {environment["threads"]} of {machine["cores"]} cores']
    load = machine['load average before']
    where += [] if load is None else [f'load {load:.1f} before']
    versions = ', '.join(f'{name} {number}' for name, number in environment['versions'].items())
    return f'{"; ".join(where)}; {versions}; {environment["date"]}.\n\n    {environment["command"]}\n'
