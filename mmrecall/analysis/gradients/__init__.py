"""Gradients of a loss by class, measured on a trained model: numbers, table and figure."""
