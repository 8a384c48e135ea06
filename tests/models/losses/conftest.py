"""The losses' tests take one pass over the logits, as a training does, though their batches are small."""

import pytest

from mmrecall.functional import one_pass


@pytest.fixture(autouse=True)
def _however_small(monkeypatch):
    monkeypatch.setattr(one_pass, '_SMALL', 1)
