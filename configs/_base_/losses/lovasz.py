"""Lovász-Softmax (Berman et al., CVPR 2018) of each image, mean over the classes that are present in it."""

loss = dict(type='mmrecall.LovaszSoftmaxLoss', per_image=True)
