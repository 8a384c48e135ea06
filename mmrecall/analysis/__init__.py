"""The computations and figures of the commands in ``mmrecall.cli``, one folder per command."""
