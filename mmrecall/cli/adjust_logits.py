r"""Adjust the scores of a trained model by the class priors of its training set, without training it again.

Menon et al., ICLR 2021: the prediction is the class with the largest z_c - τ log π_c, where π_c is the share of class c
in the training set; a larger τ finds rare classes more often. All τ are evaluated in one pass over the validation data
of the config, never over its test data, and --compare adds other trained models to the figure. Writes adjustment.csv,
adjustment.png and adjustment.svg; --fold TAU also writes a checkpoint for the same config whose
predictions are the adjusted ones.

Example: mmrecall adjust-logits work_dirs/ce --compare work_dirs/recall --fold 1
"""

import argparse
from pathlib import Path

from mmengine.config import DictAction
from rich.console import Console
from rich.progress import Progress

from mmrecall.analysis.display import print_table
from mmrecall.analysis.logit_adjustment.figures import adjustment_table, draw_adjustment, write_adjustment
from mmrecall.analysis.logit_adjustment.sweep import AdjustedScores, adjusted_scores, prior_offsets
from mmrecall.analysis.logit_adjustment.trained_model import TrainedModel
from mmrecall.analysis.trained_runs import TrainedRun, check_device, find_runs
from mmrecall.analysis.training_counts import count_training_set
from mmrecall.datasets.failures import whole_message
from mmrecall.io import read_checkpoint
from mmrecall.models.converters.adjust_logits import write_adjusted
from mmrecall.models.converters.weights_files import check_absent

TAUS = (0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 2)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('run', nargs='+', metavar='RUN', help='the trained model: WORK_DIR, or CONFIG CHECKPOINT')
    parser.add_argument(
        '--taus', nargs='+', type=float, default=TAUS, metavar='TAU', help='strengths τ (default: %(default)s)'
    )
    parser.add_argument(
        '--compare', nargs='+', default=[], metavar='RUN', help='further runs, with the same classes; shown as points'
    )
    parser.add_argument('--fold', type=float, metavar='TAU', help='write a checkpoint with this adjustment in its bias')
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu', help='device (default: %(default)s)')
    parser.add_argument(
        '--out', type=Path, default=Path('work_dirs/adjust_logits'), help='folder (default: %(default)s)'
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override settings of all configs')


def run(arguments: argparse.Namespace) -> None:
    """Evaluate, and print and write the scores."""
    try:
        _adjust(arguments)
    except (OSError, TypeError, ValueError) as error:
        raise SystemExit(whole_message(error)) from error
    print(f'Written: {arguments.out}')


def _adjust(arguments: argparse.Namespace) -> None:
    check_device(arguments.device)
    given = len(find_runs(arguments.run))
    if given > 1:
        raise ValueError(f'got {given} runs; expected one, and others after --compare')
    out = arguments.out
    first, *compared = find_runs([*arguments.run, *arguments.compare])
    model = _load(first, arguments)
    counts = count_training_set(model.config).counts
    if arguments.fold is not None:
        folded = out / f'tau{arguments.fold:g}.pth'
        check_absent(folded)
        offsets = prior_offsets(model, counts, arguments.fold)
    # It also checks that a bias of the layer shifts the scores.
    curve = _evaluate(model, counts, arguments.taus)
    if arguments.fold is not None:
        meta = read_checkpoint(first.checkpoint).get('meta') or {}
        write_adjusted(folded, model.weights, model.layer_name, offsets, meta)
    others = []
    for run in compared:
        other = _load(run, arguments)
        if (other.kind, other.classes) != (model.kind, model.classes):
            raise ValueError(f'{run.config} and {first.config} have different classes; expected the same')
        others.append(_evaluate(other, counts, [0]))
    print_table(adjustment_table(curve, others))
    write_adjustment(out / 'adjustment.csv', curve, others)
    draw_adjustment([out / 'adjustment.png', out / 'adjustment.svg'], curve, others)


def _load(run: TrainedRun, arguments: argparse.Namespace) -> TrainedModel:
    return TrainedModel(run, arguments.device, arguments.cfg_options)


def _evaluate(model: TrainedModel, counts: list[int], taus: list[float]) -> AdjustedScores:
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(model.run.name, total=None)
        return adjusted_scores(model, counts, taus, on_batch=lambda: bar.advance(task))
