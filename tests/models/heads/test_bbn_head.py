"""BBN's head against the formulas of the paper."""

import math

import pytest
import torch

pytest.importorskip('mmpretrain')

from mmengine.registry import MODELS
from mmpretrain.structures import DataSample

from mmrecall.models.heads import BBNHead

# five pairs, of which some change sides between the labels of the one and of the other
UNIFORM, REVERSED = [0, 0, 1, 0, 2], [2, 1, 1, 2, 0]


def head(progress=None, **options):
    built = MODELS.build(dict(type='mmrecall.BBNHead', num_classes=3, in_channels=4, _scope_='mmpretrain', **options))
    with torch.no_grad():
        built.fc.weight.normal_()
        built.fc.bias.normal_()
    if progress is not None:
        built.set_progress(progress)
    return built


def samples(labels):
    return [DataSample().set_gt_label(label) for label in labels]


def losses(built, features):
    return built.loss((features,), samples(UNIFORM + REVERSED))


def logits_by_hand(built, features, alpha):
    """(5, 3) of Python numbers, from eq. 1 of the paper with the authors' factor 2."""
    weight, bias, x = built.fc.weight.tolist(), built.fc.bias.tolist(), features.tolist()
    return [
        [
            b
            + 2 * alpha * sum(w * f for w, f in zip(row[:4], x[pair], strict=True))
            + 2 * (1 - alpha) * sum(w * f for w, f in zip(row[4:], x[5 + pair], strict=True))
            for row, b in zip(weight, bias, strict=True)
        ]
        for pair in range(5)
    ]


def cross_entropy(logits, label):
    return math.log(sum(math.exp(one) for one in logits)) - logits[label]


@pytest.mark.parametrize(('epoch', 'epochs'), [(0, 200), (1, 200), (7, 10), (199, 200)])
def test_loss_is_that_of_the_paper(epoch, epochs):
    built, features = head(epoch / epochs), torch.randn(10, 4)
    alpha = 1 - (epoch / epochs) ** 2
    logits = logits_by_hand(built, features, alpha)
    expected = sum(
        alpha * cross_entropy(one, y_c) + (1 - alpha) * cross_entropy(one, y_r)
        for one, y_c, y_r in zip(logits, UNIFORM, REVERSED, strict=True)
    )
    assert losses(built, features)['loss'].item() == pytest.approx(expected / 5, rel=1e-5)


def test_prediction_is_training_half_way_where_alpha_is_a_half():
    built, features = head(), torch.randn(10, 4)
    both = torch.cat([features[:5], features[5:]], dim=1)
    torch.testing.assert_close(built((both,)), torch.tensor(logits_by_hand(built, features, 0.5)))


def test_the_accuracy_is_mixed_as_the_loss_is():
    built, features = head(0.6, cal_acc=True, topk=(1, 2)), torch.randn(10, 4)
    # mmpretrain counts no label whose logit is negative
    built.fc.bias.data.add_(100)
    found = losses(built, features)
    logits = torch.tensor(logits_by_hand(built, features, 0.64))
    for k in (1, 2):
        best = logits.topk(k).indices
        shares = [100 * (best == torch.tensor(y)[:, None]).any(1).float().mean() for y in (UNIFORM, REVERSED)]
        (value,) = found[f'accuracy_top-{k}']
        torch.testing.assert_close(value.squeeze(), 0.64 * shares[0] + 0.36 * shares[1])


def test_a_running_recall_moves_twice_a_step():
    config = dict(type='mmrecall.RecallLoss', num_classes=3, alpha=0.9)
    built, features = head(0.6, loss=config), torch.randn(10, 4)
    loss = MODELS.build(config)
    logits = torch.tensor(logits_by_hand(built, features, 0.64))
    for _ in range(2):
        expected = 0.64 * loss(logits, torch.tensor(UNIFORM)) + 0.36 * loss(logits, torch.tensor(REVERSED))
        found = losses(built, features)['loss']
        torch.testing.assert_close(found, expected)
        found.backward()
    torch.testing.assert_close(built.loss_module.recall, loss.recall)


def test_without_a_progress_the_loss_names_the_hook():
    with pytest.raises(ValueError, match=r'CumulativeLearningHook'):
        losses(head(), torch.randn(10, 4))


@pytest.mark.parametrize('progress', [-0.1, 1.01, math.nan])
def test_a_progress_that_is_no_share_is_refused(progress):
    with pytest.raises(ValueError, match=f'progress is {progress}'):
        head(progress)


def test_features_of_another_width_are_refused():
    with pytest.raises(ValueError, match=r'features have 4 channels.*takes 8 of a model in evaluation mode'):
        head().predict((torch.zeros(2, 4),))
    with pytest.raises(ValueError, match=r'features have 8 channels.*takes 4 of a model in training mode'):
        losses(head(0.5), torch.zeros(10, 8))


def test_the_progress_is_not_in_a_checkpoint():
    built = head(0.5)
    assert set(built.state_dict()) == {'fc.weight', 'fc.bias'}
    head().load_state_dict(built.state_dict())


def test_a_compiled_loss_goes_on_with_every_new_progress():
    built, features, labels = head(0.0), torch.randn(10, 4), samples(UNIFORM + REVERSED)
    # a first backward after dynamo is imported starts threads, and no fork of this process could train any more
    built.loss((features,), labels)['loss'].backward()
    torch._dynamo.reset()
    graphs = []

    def counting(graph, example_inputs):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(built.loss, backend=counting)
    compilations = []
    for progress in (0.1, 0.2, 0.9):
        built.set_progress(progress)
        torch.testing.assert_close(compiled((features,), labels), built.loss((features,), labels))
        compilations.append(len(graphs))
    assert len(set(compilations)) == 1
    torch._dynamo.reset()


def test_both_spellings_of_the_type_build_it():
    for name in ('BBNHead', 'mmrecall.BBNHead'):
        built = MODELS.build(dict(type=name, num_classes=3, in_channels=4))
        assert isinstance(built, BBNHead)
        assert (built.in_channels, built.fc.in_features) == (4, 8)
