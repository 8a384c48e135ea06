"""Predictions of trained segmentation models, compared image by image."""
