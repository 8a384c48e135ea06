"""Conversions of trained checkpoints, which the commands in ``mmrecall.cli`` call."""
