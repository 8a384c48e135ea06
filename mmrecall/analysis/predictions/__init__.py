"""The predictions of trained segmentation models, compared image by image."""
