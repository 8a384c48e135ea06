"""The gradient of a loss by class: the computation, for any loss of PyTorch, and its measurement on trained models."""

from mmrecall.analysis.gradients.logit_gradients import ClassGradients, class_gradients, gradient_by_class

__all__ = ['ClassGradients', 'class_gradients', 'gradient_by_class']
