"""Post-hoc logit adjustment of trained models."""
