"""Former place of `mmrecall.losses`; what was imported from here still can be."""

from mmrecall.losses import *  # noqa: F403
from mmrecall.losses import __all__  # noqa: F401
