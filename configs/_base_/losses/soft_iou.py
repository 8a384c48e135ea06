"""Soft IoU (Rahman and Wang, 2016) over the whole batch, mean over the classes that are present."""

loss = dict(type='mmrecall.SoftIoULoss')
