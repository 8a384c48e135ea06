"""Figures from results."""

from .class_counts import class_counts_table, draw_class_counts
from .predictions import draw_predictions
from .printing import print_table

__all__ = ['class_counts_table', 'draw_class_counts', 'draw_predictions', 'print_table']
