"""Cross entropy of the 70 % of the labelled pixels where it is highest, the segmentation paper's OHEM."""

loss = dict(type='mmrecall.TopKCrossEntropyLoss', keep_ratio=0.7)
