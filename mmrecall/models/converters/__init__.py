"""Conversions of trained checkpoints, which the commands in tools/model_converters call."""
