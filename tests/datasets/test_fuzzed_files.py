"""A short, reproducible run of tests/fuzz, and the examples that longer runs found."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

pytest.importorskip('mmseg.datasets')
sys.path.insert(0, str(Path(__file__).parents[1] / 'fuzz'))
import labels
import lists

from mmrecall.datasets import LabelCounts
from mmrecall.losses import read_class_counts

SLICE = settings(
    max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize('campaign', [lists.lists, lists.class_names, lists.competition_json, lists.class_counts])
def test_a_list_is_read_or_refused_with_its_name(campaign):
    SLICE(campaign)()


@pytest.mark.parametrize('campaign', [labels.grey_labels, labels.synthia_labels, labels.images])
def test_a_label_or_image_is_read_or_refused_with_its_name(campaign):
    SLICE(campaign)()


@pytest.mark.parametrize(
    'content',
    [
        '[]', '[0, 0]', '[1, -1]', '[NaN]', '[1, "a"]', '[[1], [2]]', f'[{10**30}]', 'null', '7', '"text"', '[1, null]',
        '{"counts": [1], "image_totals": [[2]]}', '{"counts": {}}', '{"counts": [1], "classes": 7}', '{"images": [1]}',
        '[' * 10**5, '\ufeff', '[1' + '0' * 5000 + ']', '{"counts": [1, 2], "classes": ["a"], "image_totals": [1]}',
    ],
)  # fmt: skip
@pytest.mark.parametrize('name', ['counts.json', 'counts.yaml', 'counts.npy'])
def test_a_file_that_holds_no_class_counts_is_named(name, content, tmp_path):
    path = tmp_path / name
    path.write_text(content, encoding='utf-8')
    for read in (lambda: read_class_counts(str(path), ['b']), lambda: LabelCounts.read(path)):
        with pytest.raises(ValueError, match=str(path)) as caught:
            read()
        assert len(str(caught.value)) < 10_000


def test_a_yaml_file_of_counts_runs_nothing(tmp_path):
    (tmp_path / 'counts.yaml').write_text(f'!!python/object/apply:os.system ["touch {tmp_path}/marker"]')
    with pytest.raises(ValueError, match=r'counts\.yaml cannot be read'):
        read_class_counts(str(tmp_path / 'counts.yaml'))
    assert not (tmp_path / 'marker').exists()


@pytest.mark.parametrize(('end', 'message'), [('*a9', 'aliases repeat more than'), ('&b [*b]', r'\*b is in itself')])
def test_a_yaml_file_of_counts_whose_aliases_repeat_without_end_is_named(end, message, tmp_path):
    lines = ['a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]']
    lines += [f'a{n}: &a{n} [{", ".join([f"*a{n - 1}"] * 9)}]' for n in range(1, 10 if end == '*a9' else 1)]
    path = tmp_path / 'counts.yaml'
    path.write_text('\n'.join([*lines, f'counts: {end}']))
    with pytest.raises(ValueError, match=rf'counts\.yaml cannot be read \((?s:.*){message}'):
        read_class_counts(str(path))
    path.write_text('counts: &counts [3, 1]\nimage_totals: *counts')
    assert read_class_counts(str(path)).image_totals == [3, 1]


def test_counts_with_a_byte_order_mark_are_read(tmp_path):
    (tmp_path / 'counts.json').write_text('\ufeff' + json.dumps([3, 1]), encoding='utf-8')
    assert read_class_counts(str(tmp_path / 'counts.json')).counts == [3, 1]


def test_a_truncated_array_of_counts_is_named(tmp_path):
    np.save(tmp_path / 'counts.npy', [3, 1])
    (tmp_path / 'counts.npy').write_bytes((tmp_path / 'counts.npy').read_bytes()[:-3])
    with pytest.raises(ValueError, match=r'counts\.npy cannot be read'):
        read_class_counts(str(tmp_path / 'counts.npy'))
