"""The computations and figures of the commands in ``tools/analysis_tools``, one folder per command."""
