"""The heads of mmdet: `make test-mmdet` is a process of its own, because mmseg imports mmdet if it can."""

from importlib.util import find_spec

# before mmseg and mmdet
import without_compiled_ops  # noqa: F401

collect_ignore_glob = [] if find_spec('mmdet') else ['*.py']
