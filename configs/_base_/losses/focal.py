"""Focal loss (Lin et al., ICCV 2017) of the softmax with gamma 1, the segmentation paper's choice."""

loss = dict(type='mmrecall.SoftmaxFocalLoss', gamma=1.0)
