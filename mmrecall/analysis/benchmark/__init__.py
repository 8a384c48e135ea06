"""The cost of a loss: time and memory of its forward and backward pass, and the time of a whole training step."""
