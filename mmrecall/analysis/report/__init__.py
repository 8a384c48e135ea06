"""One report for a set of runs, from their logs (``mmrecall compare-runs``)."""

try:
    import jinja2  # noqa: F401
    import pandas  # noqa: F401
    import seaborn  # noqa: F401
except ImportError as error:
    raise ImportError(
        f'{error.name} is not installed, and the report needs it; run: pip install "mmrecall[report]"'
    ) from error

from mmrecall.analysis.report.labels import read_labels
from mmrecall.analysis.report.report import write_report

__all__ = ['read_labels', 'write_report']
