"""mmseg's cross entropy, averaged over the labelled pixels as RecallLoss is."""

loss = dict(type='CrossEntropyLoss', use_sigmoid=False, avg_non_ignore=True)
