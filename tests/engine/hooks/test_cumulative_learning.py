"""The progress of a training, as BBN's head is told it, in whole, killed and distributed trainings."""

import numpy as np
import pytest
import torch

pytest.importorskip('mmpretrain')

from bbn_network import bbn_config, build
from commands import free_port
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmpretrain.structures import DataSample
from resumable_run import build as build_runner
from resumable_run import digest, kill, start, wait_for
from small_runner import Flowers, automatic, small_runner
from test_exact_resume import uninterrupted
from torch.utils.data import DataLoader, Dataset

from mmrecall.datasets import BilateralSampler
from mmrecall.models.heads import BBNHead

LABELS = [0] * 8 + [1] * 3 + [2]
EPOCHS = 3
# six batches an epoch
BATCH = 4


class Pictures(Dataset):
    """Small images, noisy anew whenever they are loaded."""

    metainfo = dict(classes=('a', 'b', 'c'))

    def __len__(self):
        return len(LABELS)

    def get_data_info(self, index):
        return dict(gt_label=LABELS[index])

    def __getitem__(self, index):
        image = np.random.default_rng(index).integers(0, 200, (3, 32, 32))
        noisy = torch.from_numpy(image + np.random.randint(0, 50, image.shape)).to(torch.uint8)
        return dict(inputs=noisy, data_samples=DataSample().set_gt_label(LABELS[index]))


class Seen(Hook):
    """The coefficient in every iteration."""

    def __init__(self):
        self.coefficients = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        model = getattr(runner.model, 'module', runner.model)
        self.coefficients.append((runner.epoch, model.head.coefficient.item()))


def settings(**options):
    """Of a training with BBN; the same weights at the beginning whenever it is called."""
    torch.manual_seed(5)
    loader = dict(
        batch_size=BATCH,
        num_workers=0,
        dataset=Pictures(),
        collate_fn=dict(type='pseudo_collate'),
        sampler=dict(type='mmrecall.BilateralSampler'),
    )
    hooks = [dict(type='mmrecall.ExactResumeHook'), dict(type='mmrecall.CumulativeLearningHook')]
    return dict(
        model=build(bbn_config(backbone=dict(norm_eval=False))),
        train_dataloader=loader,
        hooks=hooks + options.pop('more_hooks', []),
        epochs=EPOCHS,
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9)),
        **options,
    )


def expected(epochs=range(EPOCHS)):
    """Six times an epoch 1 - (t/T)²."""
    return [(epoch, pytest.approx(1 - (epoch / EPOCHS) ** 2)) for epoch in epochs for _ in range(6)]


def coefficients(work, **options):
    seen = Seen()
    build_runner(work, **settings(more_hooks=[seen], **options)).train()
    return seen.coefficients


def test_the_coefficient_follows_the_parabola_of_the_paper_epoch_by_epoch(tmp_path):
    assert coefficients(tmp_path) == expected()


@pytest.mark.parametrize('iteration', [12, 16])
def test_it_is_right_after_a_resume_between_epochs_and_in_the_middle_of_one(iteration, tmp_path):
    coefficients(tmp_path, checkpoint=dict(by_epoch=False, interval=iteration))
    file = str(tmp_path / f'iter_{iteration}.pth')
    assert coefficients(tmp_path / 'resumed', load_from=file, resume=True) == expected()[iteration:]


@pytest.mark.parametrize('last', [6, 9])
def test_a_killed_and_resumed_training_is_bit_equal(last, tmp_path):
    checkpoint = dict(by_epoch=False, interval=3)
    whole = uninterrupted(tmp_path / 'whole', **settings(checkpoint=checkpoint))
    killed = start(tmp_path / 'killed', slow=True, **settings(checkpoint=checkpoint))
    wait_for(tmp_path / 'killed' / f'step_{last + 1}', killed)
    assert kill(killed)
    assert (tmp_path / 'killed' / 'last_checkpoint').read_text().endswith(f'iter_{last}.pth')
    assert uninterrupted(tmp_path / 'killed', resume=True, **settings(checkpoint=checkpoint)) == whole


class Finished(Hook):
    """Leaves what a rank has at the end, without the statistics of its batch norms."""

    def after_train(self, runner):
        state = torch.cat([parameter.detach().flatten() for parameter in runner.model.parameters()])
        torch.save(state, f'{runner.work_dir}/rank_{runner.rank}.pt')


def test_two_ranks_train_and_stay_alike(tmp_path):
    uninterrupted(tmp_path / 'two', ports=(free_port(),) * 2, **settings(more_hooks=[Finished()]))
    first, second = (torch.load(tmp_path / 'two' / f'rank_{rank}.pt') for rank in (0, 1))
    assert first.isfinite().all()
    assert torch.equal(first, second)
    before = torch.cat([parameter.detach().flatten() for parameter in settings()['model'].parameters()])
    assert not torch.equal(first, before)


class Network(BaseModel):
    """Only what the hook looks for."""

    def __init__(self):
        super().__init__()
        self.head = BBNHead(3, 2)

    def forward(self, inputs, label, mode='tensor'):
        return dict(loss=self.head.fc(inputs).sum())


def hooked(root, loader, train_cfg=None, model=None):
    runner = small_runner(root, automatic(), [dict(type='mmrecall.CumulativeLearningHook')], train_cfg=train_cfg)
    runner.model = model or runner.model
    runner._train_dataloader = loader
    return runner


def loader(sampler):
    return DataLoader(Flowers(), batch_size=4, sampler=sampler)


def test_a_loop_of_iterations_is_refused(tmp_path):
    with pytest.raises(ValueError, match='goes by epochs, but train_cfg is a IterBasedTrainLoop'):
        hooked(tmp_path, loader(BilateralSampler(Flowers())), dict(by_epoch=False, max_iters=4), Network()).train()


def test_a_model_without_a_head_to_tell_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"found no head.*model\.head\.type='mmrecall\.BBNHead'"):
        hooked(tmp_path, loader(BilateralSampler(Flowers()))).train()


def test_a_loader_without_reversed_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r'sampler is a SequentialSampler.*BilateralSampler'):
        hooked(tmp_path, loader(None), model=Network()).train()


def test_a_config_may_name_a_batch_sampler(tmp_path):
    batches = torch.utils.data.BatchSampler(BilateralSampler(Flowers()), 4, False)
    runner = hooked(tmp_path, DataLoader(Flowers(), batch_sampler=batches), model=Network())
    runner.train()
    assert runner.model.head.coefficient == 0.75
    assert digest(runner)
