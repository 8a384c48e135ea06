"""What the commands in ``tools/analysis_tools`` compute and draw, one folder per command."""
