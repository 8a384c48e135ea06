"""Huge pages are advice: the tensor is that of torch.empty_like, with or without them."""

import sys

import pytest
import torch

from mmrecall.functional import huge_pages
from mmrecall.functional.huge_pages import empty_like_in_huge_pages


@pytest.fixture
def advice(monkeypatch):
    """What the system is told: (address, bytes, advice)."""
    told = []
    monkeypatch.setattr(huge_pages, '_find_madvise', lambda: lambda *arguments: told.append(arguments))
    return told


def test_only_whole_pages_within_a_large_tensor_are_advised(advice):
    tensor = empty_like_in_huge_pages(torch.empty(2**23 + 5))
    ((start, length, _),) = advice
    assert tensor.data_ptr() <= start < tensor.data_ptr() + 4096
    assert start % 4096 == length % 4096 == 0
    assert tensor.nbytes - 2 * 4096 < length <= tensor.data_ptr() + tensor.nbytes - start


@pytest.mark.parametrize('like', [torch.empty(10), torch.empty(2**23, device='meta')], ids=['small', 'elsewhere'])
def test_other_tensors_are_left_alone(like, advice):
    empty_like_in_huge_pages(like)
    assert advice == []


def test_a_system_without_the_call_gives_the_tensor(monkeypatch):
    monkeypatch.setattr(huge_pages, '_find_madvise', lambda: None)
    assert empty_like_in_huge_pages(torch.empty(2**23)).shape == (2**23,)


@pytest.mark.skipif(sys.platform != 'linux', reason='Linux has the call')
def test_linux_takes_the_advice():
    advise, tensor = huge_pages._find_madvise(), torch.empty(2**23)
    start = -(-tensor.data_ptr() // 4096) * 4096
    # 0, or EINVAL of a kernel without huge pages
    assert advise(start, 2**22, 14) in (0, -1)
    like = torch.rand(2**23).view(2, 4, -1).transpose(1, 2)
    made = empty_like_in_huge_pages(like)
    assert (made.shape, made.stride(), made.dtype) == (like.shape, like.stride(), like.dtype)
    made.copy_(like)
    assert torch.equal(made, like)
