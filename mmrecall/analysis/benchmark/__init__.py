"""What a loss costs: time and memory of a forward and backward pass (``tools/analysis_tools/benchmark_losses.py``)."""
