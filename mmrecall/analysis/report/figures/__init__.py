"""The figures of the report."""

from collections.abc import Callable

from mmrecall.analysis.report.figures import curves, results, weights
from mmrecall.analysis.report.figures.figure import Figure
from mmrecall.analysis.report.tables import Comparison

FIGURES: tuple[Callable[[Comparison], Figure | None], ...] = (
    results.draw_trade_off,
    results.draw_metrics,
    results.draw_accuracy_by_class,
    results.draw_iou_by_class,
    weights.draw_weight_maps,
    weights.draw_weight_lines,
    weights.draw_weight_shares,
    curves.draw_alpha_curves,
    curves.draw_curves,
)
"""In the order of the page; a function returns None where the logs do not have what it draws."""

__all__ = ['FIGURES', 'Figure']
