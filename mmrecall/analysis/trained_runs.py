"""Trainings, given by their work dirs or by config and checkpoint."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from mmrecall.analysis.display import short_names
from mmrecall.engine.earlier_runs import earlier_checkpoints
from mmrecall.engine.stock_tools import CONFIG_SUFFIXES


class TrainedRun(NamedTuple):
    """Config and checkpoint of a training."""

    name: str
    """As short as the names of all runs are different."""
    config: Path
    checkpoint: Path


def find_runs(words: Sequence[str]) -> list[TrainedRun]:
    """Return the runs of work dirs, and of configs each followed by a checkpoint, in their order.

    Args:
        words: arguments of a command line. A work dir stands for the config that mmengine saved in it and the newest
            checkpoint.

    Raises:
        FileNotFoundError: a path, or the config or checkpoint of a work dir, is missing.
        ValueError: a work dir with several configs, a config without a checkpoint after it, or a run given twice.
    """
    labels, pairs = [], []
    left = list(words)
    while left:
        word = left.pop(0)
        if Path(word).is_dir():
            pairs.append(_of_work_dir(Path(word)))
            labels.append(Path(word).resolve().as_posix())
        else:
            pairs.append(_config_and_checkpoint(word, left.pop(0) if left else None))
            labels.append(_without_suffix(Path(word)))
    if len(set(labels)) < len(labels):
        labels = [f'{label}{_without_suffix(checkpoint)}' for label, (_, checkpoint) in zip(labels, pairs, strict=True)]
    if len(set(labels)) < len(labels):
        raise ValueError(f'got a run twice in {" ".join(words)}; expected different runs')
    names = short_names(labels) if len(labels) > 1 else [Path(label).name for label in labels]
    return [TrainedRun(name, *pair) for name, pair in zip(names, pairs, strict=True)]


def _without_suffix(path: Path) -> str:
    return path.resolve().with_suffix('').as_posix()


def _of_work_dir(work_dir: Path) -> tuple[Path, Path]:
    advice = 'give CONFIG CHECKPOINT instead'
    configs = sorted(work_dir.glob('*.py'))
    if not configs:
        raise FileNotFoundError(f'the work dir {work_dir} has no config (*.py), which mmengine saves there; {advice}')
    if len(configs) > 1:
        names = ', '.join(path.name for path in configs)
        raise ValueError(f'the work dir {work_dir} has {len(configs)} configs, {names}; {advice}')
    last = work_dir / 'last_checkpoint'
    if not last.is_file():
        raise FileNotFoundError(f'{last} is missing, in which mmengine names the newest checkpoint; {advice}')
    # The path in it is that of the training, after which the work dir may have been moved.
    name = Path(last.read_text(encoding='utf-8').strip()).name
    if name in earlier_checkpoints(work_dir):
        raise FileNotFoundError(f'{last} names {name}, which is of an earlier training than the last there; {advice}')
    return configs[0], work_dir / name


def _config_and_checkpoint(config: str, checkpoint: str | None) -> tuple[Path, Path]:
    if not config.endswith(CONFIG_SUFFIXES):
        raise FileNotFoundError(f'{config} is neither a config nor the folder of a training')
    if not Path(config).is_file():
        raise FileNotFoundError(f'the config {config} is missing')
    if checkpoint is None or checkpoint.endswith(CONFIG_SUFFIXES) or Path(checkpoint).is_dir():
        raise ValueError(f'got {checkpoint or "nothing"} after the config {config}; expected its checkpoint')
    return Path(config), Path(checkpoint)


def check_device(device: str) -> None:
    """Check that there is a GPU if one is asked for.

    Raises:
        ValueError: ``'cuda'``, and PyTorch finds no GPU.
    """
    if device == 'cuda' and not torch.cuda.is_available():
        raise ValueError(f'got --device cuda, but PyTorch {torch.__version__} finds no GPU; set --device cpu')
