"""Huge pages are advice: the tensor is that of torch.empty_like, with or without them."""

import mmap
import re
import sys
from pathlib import Path

import pytest
import torch

from mmrecall.functional.backends import huge_pages
from mmrecall.functional.backends.huge_pages import empty_like_in_huge_pages


@pytest.fixture
def advice(monkeypatch):
    """What the system is told: (address, bytes, advice)."""
    told = []
    monkeypatch.setattr(mmap, 'MADV_HUGEPAGE', 14, raising=False)
    monkeypatch.setattr(huge_pages, '_find_madvise', lambda: lambda *arguments: told.append(arguments))
    return told


def test_only_whole_pages_within_a_large_tensor_are_advised(advice):
    tensor = empty_like_in_huge_pages(torch.empty(2**23 + 5))
    ((start, length, _),) = advice
    page = mmap.PAGESIZE
    assert tensor.data_ptr() <= start < tensor.data_ptr() + page
    assert start % page == length % page == 0
    assert tensor.nbytes - 2 * page < length <= tensor.data_ptr() + tensor.nbytes - start


@pytest.mark.parametrize('like', [torch.empty(10), torch.empty(2**23, device='meta')], ids=['small', 'elsewhere'])
def test_other_tensors_are_left_alone(like, advice):
    empty_like_in_huge_pages(like)
    assert advice == []


def test_a_system_without_the_call_gives_the_tensor(monkeypatch):
    monkeypatch.setattr(huge_pages, '_find_madvise', lambda: None)
    assert empty_like_in_huge_pages(torch.empty(2**23)).shape == (2**23,)


@pytest.mark.skipif(
    sys.platform != 'linux' or not Path('/sys/kernel/mm/transparent_hugepage').exists(), reason='none here'
)
def test_linux_takes_the_advice():
    tensor = empty_like_in_huge_pages(torch.empty(2**24))
    middle = tensor.data_ptr() + tensor.nbytes // 2
    # a line of addresses, then what is known of them
    for mapping in re.split(r'\n(?=[0-9a-f]+-[0-9a-f]+ )', Path('/proc/self/smaps').read_text()):
        start, end = (int(address, 16) for address in mapping.split()[0].split('-'))
        if start <= middle < end:
            # "huge page advise" flag
            assert re.search(r'VmFlags:.* hg\b', mapping)
            return
    raise AssertionError('the tensor is in no mapping')


def test_the_layout_is_that_of_empty_like():
    like = torch.rand(2**23).view(2, 4, -1).transpose(1, 2)
    made = empty_like_in_huge_pages(like)
    assert (made.shape, made.stride(), made.dtype) == (like.shape, like.stride(), like.dtype)
    made.copy_(like)
    assert torch.equal(made, like)


def test_a_python_without_the_constant_gives_no_advice(monkeypatch):
    monkeypatch.delattr(mmap, 'MADV_HUGEPAGE', raising=False)
    huge_pages._find_madvise.cache_clear()
    try:
        assert empty_like_in_huge_pages(torch.empty(2**23)).shape == (2**23,)
    finally:
        huge_pages._find_madvise.cache_clear()
