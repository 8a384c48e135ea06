"""Cross entropy of the 70 % of the labelled pixels where it is highest, the segmentation paper's OHEM."""

loss = dict(type='mmrecall.OHEMCrossEntropyLoss', keep_ratio=0.7)
