"""Recall loss of the batch (alpha=1), as the segmentation paper trains."""

loss = dict(type='mmrecall.RecallLoss')
