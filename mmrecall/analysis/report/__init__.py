"""One report for a set of runs (``tools/analysis_tools/compare_runs.py``): read from their logs, nothing is run."""

try:
    import jinja2  # noqa: F401
    import pandas  # noqa: F401
except ImportError as error:
    raise ImportError(
        f'the report needs {error.name}, which is not installed: pip install "mmrecall[report]"'
    ) from error

from mmrecall.analysis.report.report import write_report

__all__ = ['write_report']
