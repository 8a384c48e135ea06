import pytest
import torch
from torch.nn import functional as F

pytest.importorskip('mmpretrain')

from mmpretrain.models.heads import ArcFaceClsHead
from mmpretrain.structures import DataSample

from mmrecall.functional.long_tail import ldam_margins
from mmrecall.models.heads import CosineClsHead

LABELS = [0, 2, 1, 0]


def head(**options):
    made = CosineClsHead(num_classes=3, in_channels=16, **options)
    made.init_weights()
    return made


def test_logits_are_the_cosines_between_features_and_weights():
    made, features = head(), torch.randn(4, 16)
    expected = F.cosine_similarity(features[:, None], made.fc.weight[None], dim=-1)
    torch.testing.assert_close(made((features,)), expected)


def test_logits_are_those_of_arcface_without_margin_and_scale():
    made, features = head(), torch.randn(4, 16)
    arcface = ArcFaceClsHead(num_classes=3, in_channels=16, scale=1.0, margins=0.0)
    arcface.norm_product.load_state_dict(made.fc.state_dict())
    assert torch.equal(made((features,)), arcface((features,)))


def test_weights_begin_with_about_unit_length():
    made = CosineClsHead(num_classes=1000, in_channels=64)
    made.init_weights()
    assert made.fc.weight.norm(dim=1).mean().item() == pytest.approx(1, abs=0.02)
    assert made.fc.bias is None


def test_another_initialisation_can_be_given():
    made = head(init_cfg=dict(type='Constant', layer='Linear', val=3.0))
    assert made.fc.weight.unique().tolist() == [3.0]


def test_ldam_with_scale_30_is_the_authors_formula():
    counts = [100, 20, 5]
    made = head(loss=dict(type='mmrecall.LDAMLoss', class_counts=counts, scale=30.0))
    features, labels = torch.randn(4, 16), torch.tensor(LABELS)
    found = made.loss((features,), [DataSample().set_gt_label(label) for label in LABELS])['loss']
    margins = ldam_margins(torch.tensor(counts), 0.5).float()
    shifted = made((features,)) - F.one_hot(labels, 3) * margins
    torch.testing.assert_close(found, F.cross_entropy(30 * shifted, labels))


def test_autocast_does_not_round_the_cosines():
    made, features = head(), torch.randn(4, 16)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(made((features,)), made((features.double(),)))
        rounded = made((features.bfloat16(),))
    assert rounded.dtype == torch.float32
    assert torch.equal(rounded, made((features.bfloat16().float(),)))


def test_features_without_length_have_finite_gradients():
    made, features = head(), torch.zeros(4, 16, requires_grad=True)
    made((features,)).sum().backward()
    assert features.grad.isfinite().all()
