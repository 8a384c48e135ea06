"""A killed and resumed training is the one that was never killed."""

import random
import time

import numpy as np
import pytest
import torch
from commands import free_port
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import Hook
from resumable_run import CLASSES, Network, Noisy, build, digest, finish, iteration, kill, start, wait_for
from torch.utils.data import DataLoader, IterableDataset

from mmrecall.losses import BalancedLogitVariationLoss

LOOPS = {
    'by iterations': dict(iterations=30),
    'by iterations, pass after pass': dict(iterations=30, sampler='DefaultSampler'),
    'by epochs': dict(epochs=5, sampler='DefaultSampler'),
    'in the middle of epochs': dict(epochs=5, sampler='DefaultSampler', checkpoint=dict(by_epoch=False, interval=3)),
}


def uninterrupted(work, **settings):
    assert set(finish(start(work, **settings))) == {0}
    return (work / 'digest').read_text()


def resumed(work, **settings):
    return uninterrupted(work, resume=True, **settings)


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('loop', LOOPS)
def test_a_resumed_training_equals_an_uninterrupted_one(loop, workers, tmp_path):
    settings = dict(workers=workers, **LOOPS[loop])
    whole = uninterrupted(tmp_path / 'whole', **settings)
    by_epoch = 'epochs' in settings and 'checkpoint' not in settings
    killed = start(tmp_path / 'killed', **settings)
    wait_for(tmp_path / 'killed' / ('epoch_2.pth' if by_epoch else 'iter_9.pth'), killed)
    kill(killed)
    assert resumed(tmp_path / 'killed', **settings) == whole


def test_a_training_does_not_depend_on_the_number_of_workers(tmp_path):
    one, other = (uninterrupted(tmp_path / str(n), workers=n, iterations=12) for n in (0, 2))
    assert one == other


def test_another_seed_is_another_training(tmp_path):
    one, other = (uninterrupted(tmp_path / str(seed), iterations=6, randomness=dict(seed=seed)) for seed in (0, 1))
    assert one != other


def test_without_the_hook_a_resumed_training_is_another(tmp_path):
    settings = dict(iterations=12, hooks=[])
    whole = uninterrupted(tmp_path / 'whole', **settings)
    killed = start(tmp_path / 'killed', **settings)
    wait_for(tmp_path / 'killed' / 'iter_6.pth', killed)
    kill(killed)
    assert resumed(tmp_path / 'killed', **settings) != whole


@pytest.mark.parametrize('ranks', [1, 2])
def test_ten_kills_at_random_moments_leave_the_same_weights(ranks, tmp_path):
    def settings():
        ports = (None,) if ranks == 1 else (free_port(),) * 2
        return dict(iterations=100, workers=1, ports=ports, checkpoint=dict(by_epoch=False, interval=1))

    whole, work, moments = uninterrupted(tmp_path / 'whole', **settings()), tmp_path / 'killed', random.Random(ranks)
    for _ in range(10):
        # while it starts, or some iterations later; far from the end, however slow the machine is
        later, processes = moments.randrange(8), start(work, resume=True, **settings())
        goal = iteration(work) + later
        while later and iteration(work) < goal:
            assert all(process.is_alive() for process in processes)
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.05 if later else 0.3))
        assert kill(processes)
    assert 0 < iteration(work) < 100
    assert resumed(work, **settings()) == whole


def test_without_a_seed_it_does_not_begin(tmp_path):
    with pytest.raises(ValueError, match=r'randomness=dict\(seed=0\)'):
        build(tmp_path, iterations=3, randomness=dict(seed=None)).train()


def test_accumulated_gradients_resume_exactly(tmp_path):
    settings = dict(iterations=12, optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1), accumulative_counts=3))
    whole = uninterrupted(tmp_path / 'whole', **settings)
    killed = start(tmp_path / 'killed', **settings)
    wait_for(tmp_path / 'killed' / 'iter_6.pth', killed)
    kill(killed)
    assert resumed(tmp_path / 'killed', **settings) == whole


def network_with_noise(sigma):
    torch.manual_seed(11)
    network = Network()
    network.loss_module = BalancedLogitVariationLoss([50, 5, 1], sigma, num_classes=CLASSES)
    return network


@pytest.mark.parametrize('ranks', [1, 2])
def test_a_loss_that_adds_noise_to_the_logits_resumes_exactly(ranks, tmp_path):
    def settings(sigma=1.0):
        ports = (None,) if ranks == 1 else (free_port(),) * 2
        return dict(iterations=12, model=network_with_noise(sigma), ports=ports)

    whole = uninterrupted(tmp_path / 'whole', **settings())
    assert whole != uninterrupted(tmp_path / 'without', **settings(sigma=0.0))
    killed = start(tmp_path / 'killed', slow=True, **settings())
    wait_for(tmp_path / 'killed' / 'step_8', killed)
    assert kill(killed)
    assert (tmp_path / 'killed' / 'last_checkpoint').read_text().endswith('iter_6.pth')
    assert resumed(tmp_path / 'killed', **settings()) == whole


class Still(Noisy):
    """Items without random numbers."""

    def __getitem__(self, index):
        return dict(inputs=torch.randn(6, generator=torch.Generator().manual_seed(index)), label=index % CLASSES)


class MeanLogit(BaseMetric):
    """Depends on the statistics of the batch normalisation on all ranks."""

    def process(self, data_batch, data_samples):
        self.results += data_samples[0].double().mean(1).tolist()

    def compute_metrics(self, results):
        return dict(logit=np.mean(results))


# a validation after every checkpoint, which a kill makes one that is done again, and one between two checkpoints
@pytest.mark.parametrize('interval', [3, 4])
def test_a_resumed_training_on_two_ranks_validates_as_an_uninterrupted_one(interval, tmp_path):
    def settings():
        train_cfg = dict(type='IterBasedTrainLoop', max_iters=12, val_interval=interval)
        ports = (free_port(),) * 2
        loader = dict(batch_size=10, dataset=Still(), collate_fn=dict(type='default_collate'))
        loader['sampler'] = dict(type='DefaultSampler', shuffle=False)
        validation = dict(val_dataloader=loader, val_cfg=dict(), val_evaluator=Evaluator(MeanLogit()))
        return dict(iterations=12, train_cfg=train_cfg, ports=ports, **validation)

    def scores(work):
        saved = torch.load(work / 'iter_12.pth', weights_only=False)
        return saved['message_hub']['log_scalars']['val/logit'].data[0].tolist()

    uninterrupted(tmp_path / 'whole', **settings())
    killed = start(tmp_path / 'killed', slow=True, **settings())
    wait_for(tmp_path / 'killed' / 'step_7', killed)
    assert kill(killed)
    assert (tmp_path / 'killed' / 'last_checkpoint').read_text().endswith('iter_6.pth')
    resumed(tmp_path / 'killed', **settings())
    assert len(scores(tmp_path / 'whole')) == 11 // interval
    assert scores(tmp_path / 'killed') == scores(tmp_path / 'whole')


class Endless(IterableDataset):
    """Items without a number."""

    def __iter__(self):
        return iter(())


def test_a_data_set_without_numbered_items_is_refused(tmp_path):
    loader = DataLoader(Endless(), batch_size=2)
    with pytest.raises(ValueError, match=r'the loader of Endless has no batches of numbered items'):
        build(tmp_path, iterations=3, train_dataloader=loader, param_scheduler=None).train()


def test_a_loader_without_batches_is_named(tmp_path):
    loader = DataLoader(Noisy(), batch_size=100, drop_last=True)
    with pytest.raises(ValueError, match='no batches; the data set is empty, or smaller than a batch'):
        build(tmp_path, iterations=3, train_dataloader=loader).train()


class Indices(Hook):
    """What hooks and logs are told."""

    def __init__(self):
        self.seen = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.seen.append((runner.epoch, batch_idx))


def test_hooks_are_told_the_number_of_the_batch_in_an_epoch_that_began_before(tmp_path):
    settings = dict(epochs=2, sampler='DefaultSampler', checkpoint=dict(by_epoch=False, interval=6))
    build(tmp_path, **settings).train()
    seen = Indices()
    runner = build(tmp_path, load_from=str(tmp_path / 'iter_12.pth'), resume=True, **settings)
    runner.register_hook(seen)
    runner.train()
    assert seen.seen == [(1, index) for index in range(4, 8)]


class Validations(Hook):
    def __init__(self):
        self.seen = []

    def after_val_epoch(self, runner, metrics=None):
        self.seen.append((runner.iter, metrics['validated']))


def test_a_run_that_was_killed_in_its_last_validation_is_validated(tmp_path):
    def validations(**more):
        train_cfg = dict(type='IterBasedTrainLoop', max_iters=6, val_interval=6)
        runner = build(tmp_path, iterations=6, train_cfg=train_cfg, validation=True, **more)
        seen = Validations()
        runner.register_hook(seen)
        runner.train()
        return seen.seen

    assert validations() == [(6, 3)]
    assert validations(resume=True) == [(6, 3)]


def test_a_shuffling_loader_of_pytorch_resumes_exactly(tmp_path):
    def loader():
        return DataLoader(Noisy(), batch_size=4, shuffle=True, generator=torch.Generator().manual_seed(5))

    def trained(work, epochs, **more):
        torch.manual_seed(11)
        runner = build(work, epochs=epochs, train_dataloader=loader(), **more)
        runner.train()
        return digest(runner)

    # a schedule that does not depend on the number of epochs
    constant = dict(param_scheduler=None)
    trained(tmp_path / 'parts', 2, **constant)
    parts = trained(tmp_path / 'parts', 4, resume=True, **constant)
    assert parts == trained(tmp_path / 'whole', 4, **constant)


def test_a_checkpoint_at_the_end_of_an_epoch_does_not_train_it_again(tmp_path):
    settings = dict(epochs=3, sampler='DefaultSampler', checkpoint=dict(by_epoch=False, interval=8))
    whole = uninterrupted(tmp_path / 'whole', **settings)
    killed = start(tmp_path / 'killed', slow=True, **settings)
    wait_for(tmp_path / 'killed' / 'step_10', killed)
    assert kill(killed)
    assert (tmp_path / 'killed' / 'last_checkpoint').read_text().endswith('iter_8.pth')
    assert resumed(tmp_path / 'killed', **settings) == whole


PLATEAU = dict(type='ReduceOnPlateauLR', monitor='validated', factor=0.1, patience=0, by_epoch=True)
VALIDATED = {
    'by iterations': dict(iterations=12, train_cfg=dict(type='IterBasedTrainLoop', max_iters=12, val_interval=3)),
    'by epochs': dict(epochs=3, sampler='DefaultSampler', train_cfg=dict(by_epoch=True, max_epochs=3)),
}


@pytest.mark.parametrize('loop', VALIDATED)
def test_a_schedule_that_follows_the_validation_resumes_exactly(loop, tmp_path):
    settings = dict(VALIDATED[loop], param_scheduler=PLATEAU, validation=True)
    whole = uninterrupted(tmp_path / 'whole', **settings)
    last, later = ('iter_6.pth', 'step_8') if 'iterations' in settings else ('epoch_1.pth', 'step_10')
    killed = start(tmp_path / 'killed', slow=True, **settings)
    wait_for(tmp_path / 'killed' / later, killed)
    assert kill(killed)
    assert (tmp_path / 'killed' / 'last_checkpoint').read_text().endswith(last)
    assert resumed(tmp_path / 'killed', **settings) == whole


def test_statistics_that_are_made_precise_at_the_end_of_an_epoch_resume_exactly(tmp_path):
    pytest.importorskip('mmpretrain')
    hooks = [dict(type='mmrecall.ExactResumeHook'), dict(type='mmpretrain.PreciseBNHook', num_samples=16)]
    settings = dict(
        epochs=3, sampler='DefaultSampler', workers=1, hooks=hooks, checkpoint=dict(by_epoch=False, interval=4)
    )
    whole = uninterrupted(tmp_path / 'whole', **settings)
    # at the end of an epoch, and in its middle
    for step in (10, 14):
        killed = start(tmp_path / str(step), slow=True, **settings)
        wait_for(tmp_path / str(step) / f'step_{step}', killed)
        assert kill(killed)
        assert resumed(tmp_path / str(step), **settings) == whole


def test_a_hook_that_is_there_twice_is_refused(tmp_path):
    with pytest.raises(ValueError, match='ExactResumeHook is there twice'):
        build(tmp_path, iterations=3, hooks=[dict(type='mmrecall.ExactResumeHook')] * 2).train()


def test_a_loader_of_an_earlier_training_can_be_used_again(tmp_path):
    loader = DataLoader(Noisy(), batch_size=4, shuffle=True)

    def trained(name):
        torch.manual_seed(11)
        runner = build(tmp_path / name, epochs=2, train_dataloader=loader)
        runner.train()
        return digest(runner)

    assert trained('one') == trained('other')
