"""Former place of `mmrecall.losses`, for code that imports from it."""

from mmrecall.losses import *  # noqa: F403
from mmrecall.losses import __all__  # noqa: F401
