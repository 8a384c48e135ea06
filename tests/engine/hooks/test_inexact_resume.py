"""Settings that would change a resumed training are refused, kept, or named."""

import copy
import os
import re

import numpy as np
import pytest
from commands import free_port
from mmengine.config import Config
from mmengine.hooks import Hook
from resumable_run import Noisy, Scores, build, finish, logged, names, start
from torch.utils.data import ConcatDataset


@pytest.mark.parametrize('loop', [dict(iterations=9), dict(epochs=2)])
def test_checkpoints_between_two_steps_of_the_optimizer_are_refused(loop, tmp_path):
    accumulating = dict(optimizer=dict(type='SGD', lr=0.01), accumulative_counts=5)
    with pytest.raises(ValueError, match=r'accumulative_counts=5.*multiple of 5 iterations'):
        build(tmp_path, optim_wrapper=accumulating, **loop).train()


ACCUMULATING = dict(optimizer=dict(type='SGD', lr=0.01), accumulative_counts=2)


def test_a_best_checkpoint_between_two_steps_of_the_optimizer_is_refused(tmp_path):
    def begin(train_cfg, **loop):
        best = dict(by_epoch='epochs' in loop, interval=2, save_best='validated', rule='greater')
        build(
            tmp_path, checkpoint=best, validation=True, optim_wrapper=ACCUMULATING, train_cfg=train_cfg, **loop
        ).train()

    by_iterations = dict(type='IterBasedTrainLoop', max_iters=6, val_interval=3)
    with pytest.raises(
        ValueError, match=r'every 3 iterations .* make val_interval \(because of save_best\) a multiple of'
    ):
        begin(by_iterations, iterations=6)
    with pytest.raises(ValueError, match='every 5 iterations'):
        begin(by_iterations | dict(val_interval=2, dynamic_intervals=[(4, 5)]), iterations=6)
    # an epoch has 8 batches
    begin(dict(by_epoch=True, max_epochs=1, val_interval=1), epochs=1, sampler='DefaultSampler')


def test_intervals_that_end_with_the_training_are_accepted(tmp_path):
    best = dict(by_epoch=False, interval=101, save_best='validated', rule='greater')
    loop = dict(type='IterBasedTrainLoop', max_iters=5, val_interval=101)
    settings = dict(iterations=5, checkpoint=best, validation=True, optim_wrapper=ACCUMULATING, train_cfg=loop)
    build(tmp_path, **settings).train()
    assert names(tmp_path) == ['best_validated_iter_5.pth', 'iter_5.pth']
    with pytest.raises(ValueError, match='every 3 iterations'):
        build(tmp_path, **settings | dict(train_cfg=loop | dict(val_interval=3))).train()


def test_checkpoints_that_begin_between_two_steps_of_the_optimizer_are_refused(tmp_path):
    shifted = dict(by_epoch=False, interval=2, save_begin=3)
    with pytest.raises(ValueError, match=r'every 3 iterations .* make save_begin of the AtomicCheckpointHook'):
        build(tmp_path, iterations=6, checkpoint=shifted, optim_wrapper=ACCUMULATING).train()


def test_a_resume_under_other_conditions_goes_on_and_says_which(tmp_path):
    build(tmp_path, epochs=1, sampler='DefaultSampler').train()
    runner = build(tmp_path, epochs=2, sampler='DefaultSampler', resume=True)
    runner._train_dataloader['batch_size'] = 7
    runner.train()
    assert 'not what an uninterrupted one would be: batches_of_an_epoch was 8, is 5' in logged(tmp_path)
    assert runner.epoch == 2


class Listed(Noisy):
    """With a list, as the data sets of mmengine have."""

    def __init__(self, names):
        self.data_list = [dict(img_path=name) for name in names]

    def __len__(self):
        return len(self.data_list)


class Serialized(Listed):
    """With the list as bytes, as the data sets of mmengine have."""

    def __init__(self, names):
        super().__init__(names)
        self.data_bytes = np.frombuffer(' '.join(names).encode(), np.uint8)


LOADER = dict(batch_size=64, num_workers=0, collate_fn=dict(type='default_collate'))
LOADER['sampler'] = dict(type='DefaultSampler', shuffle=True)
NAMES = [f'{number}.png' for number in range(80)]
OTHER = ['other.png', *NAMES[1:]]
CHANGES = {
    'batch size': (dict(batch_size=79), {}, 'batch_size was 64, is 79'),
    'order': (dict(sampler=dict(type='DefaultSampler', shuffle=False)), {}, 'shuffle was True, is False'),
    'sampler': (dict(sampler=dict(type='InfiniteSampler')), {}, 'sampler was DefaultSampler, is InfiniteSampler'),
    'list': (dict(dataset=Listed(OTHER)), {}, r'checksum_of_the_list_of_items was \d+, is \d+'),
    'part': (dict(dataset=ConcatDataset([Serialized(OTHER)])), {}, r'checksum_of_the_list_of_items was'),
    'length': (dict(dataset=Listed(NAMES[1:])), {}, 'items was 80, is 79'),
    'accumulation': ({}, dict(optim_wrapper=ACCUMULATING), 'accumulative_counts was 1, is 2'),
}


@pytest.mark.parametrize('change', CHANGES)
def test_every_condition_of_the_batches_and_the_steps_is_compared(change, tmp_path):
    loader, options, warning = CHANGES[change]
    same = dict(iterations=2, checkpoint=dict(by_epoch=False, interval=2), param_scheduler=None)
    dataset = ConcatDataset([Serialized(NAMES)]) if change == 'part' else Listed(NAMES)
    build(tmp_path, train_dataloader=LOADER | dict(dataset=dataset), **same).train()
    again = dict(LOADER, dataset=dataset)
    build(tmp_path, train_dataloader=again, resume=True, **same).train()
    assert 'not what an uninterrupted one' not in logged(tmp_path)
    build(tmp_path, train_dataloader=again | loader, resume=True, **same, **options).train()
    assert re.search(f'not what an uninterrupted one would be: .*{warning}', logged(tmp_path))


class ByRank(Listed):
    """Of two ranks, each has its own list."""

    def __init__(self, *lists, roots=('', '')):
        self.lists, self.roots = lists, roots

    def __len__(self):
        return len(self.lists[0])

    @property
    def data_root(self):
        return self.roots[int(os.environ['RANK'])]

    @property
    def data_list(self):
        return [dict(img_path=self.data_root + name) for name in self.lists[int(os.environ['RANK'])]]

    def get_data_info(self, index):
        return self.data_list[index]


def statuses_of_two_ranks(work, dataset, **settings):
    loader = LOADER | dict(dataset=dataset, **settings)
    return finish(start(work, ports=(free_port(),) * 2, iterations=2, train_dataloader=loader))


def test_ranks_with_different_lists_of_equal_length_are_refused_together(tmp_path, capfd):
    assert statuses_of_two_ranks(tmp_path, ByRank(NAMES, OTHER)) == [1, 1]
    message = r'different lists of training items: 80 items with checksum \d+ on 0 \(.*; 80 items .* on 1 \('
    assert len(re.findall(message, capfd.readouterr().err)) == 2


def test_ranks_with_the_same_list_below_their_own_folders_train(tmp_path):
    own = ByRank(NAMES, NAMES, roots=('/of_one_machine/', '/of_another/'))
    assert statuses_of_two_ranks(tmp_path, own) == [0, 0]


LOSSES = [dict(type='RecallLoss', alpha=0.3), dict(type='DiceLoss')]
CONFIG = dict(
    optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9)),
    param_scheduler=[dict(type='MultiStepLR', milestones=[2, 3], by_epoch=False)],
    model=dict(decode_head=dict(num_classes=3, loss_decode=LOSSES)),
)
SETTINGS = {
    'learning rate': ('optim_wrapper.optimizer.lr', 0.1, 'optim_wrapper.optimizer.lr was 0.01, is 0.1'),
    'new option': ('optim_wrapper.optimizer.weight_decay', 0.1, 'weight_decay was None, is 0.1'),
    'schedule': ('param_scheduler.0.milestones', [2, 4], 'param_scheduler.0.milestones.1 was 3, is 4'),
    'loss': ('model.decode_head.loss_decode.0.alpha', 0.5, 'loss_decode.0.alpha was 0.3, is 0.5'),
    'fewer losses': (
        'model.decode_head.loss_decode',
        LOSSES[:1],
        'was DiceLoss',
    ),
}


@pytest.mark.parametrize('change', SETTINGS)
def test_another_optimizer_schedule_or_loss_at_a_resume_is_named(change, tmp_path):
    def go_on(config, **settings):
        parts = dict(optim_wrapper=config['optim_wrapper'], param_scheduler=config['param_scheduler'])
        build(tmp_path, iterations=3, cfg=config, **copy.deepcopy(parts), **settings).train()
        return re.findall('not what an uninterrupted one would be: (.*)', logged(tmp_path))

    go_on(CONFIG)
    assert not go_on(copy.deepcopy(CONFIG), resume=True)
    key, value, warning = SETTINGS[change]
    config = Config(copy.deepcopy(CONFIG))
    config.merge_from_dict({key: value})
    (found,) = go_on(config.to_dict(), resume=True)
    assert warning in found
    assert ('go on with the learning rate' in found) == ('loss' not in change)


def test_a_checkpoint_of_a_run_without_the_hook_is_resumed_with_a_warning(tmp_path):
    build(tmp_path, iterations=3, hooks=[]).train()
    build(tmp_path, iterations=6, resume=True).train()
    assert 'the checkpoint was written without ExactResumeHook' in logged(tmp_path)


BEST = dict(by_epoch=False, interval=3, save_best='accuracy', rule='greater')


def test_a_best_checkpoint_without_the_optimizer_is_not_resumed_from(tmp_path):
    hooks = [dict(type='mmrecall.ExactResumeHook'), Scores({4: 0.5})]
    build(tmp_path, iterations=6, checkpoint=BEST, hooks=hooks).train()
    best = str(tmp_path / 'best_accuracy_iter_4.pth')
    resuming = dict(iterations=9, checkpoint=BEST, hooks=hooks[:1])
    with pytest.raises(ValueError, match=rf'{best} has no state of the optimizer .* set load_from without resume'):
        build(tmp_path, resume=True, load_from=best, **resuming).train()
    # The note does not name it, and without the note the highest number of the interval counts.
    (tmp_path / 'last_checkpoint').unlink()
    runner = build(tmp_path, resume=True, **resuming)
    runner.train()
    assert runner._load_from == str(tmp_path / 'iter_6.pth')


def test_the_weights_of_a_best_checkpoint_can_be_fine_tuned(tmp_path):
    hooks = [dict(type='mmrecall.ExactResumeHook'), Scores({4: 0.5})]
    build(tmp_path / 'first', iterations=6, checkpoint=BEST, hooks=hooks).train()
    best = str(tmp_path / 'first' / 'best_accuracy_iter_4.pth')
    build(tmp_path / 'second', iterations=3, load_from=best).train()


STOPPING = dict(epochs=8, sampler='DefaultSampler', validation=True, train_cfg=dict(by_epoch=True, max_epochs=8))
# the score stays the same, so that the training ends after epoch 1 + 3
PATIENT = [
    dict(type='mmrecall.ExactResumeHook'),
    dict(type='EarlyStoppingHook', monitor='validated', rule='greater', patience=3, min_delta=0.1),
]


@pytest.mark.parametrize('best', [False, True])
@pytest.mark.parametrize('killed_in', [2, 3, 4])
def test_a_training_that_stops_early_keeps_its_patience(killed_in, best, tmp_path):
    settings = dict(STOPPING, hooks=PATIENT)
    settings['checkpoint'] = dict(
        by_epoch=True, interval=1, **(dict(save_best='validated', rule='greater') if best else {})
    )

    class Killed(Exception):
        """In the validation of an epoch, or, with the best checkpoint, after it."""

    class Kill(Hook):
        priority = 'VERY_LOW' if best else 'VERY_HIGH'

        def after_val_epoch(self, runner, metrics=None):
            if runner.epoch == killed_in:
                raise Killed

    killed = build(tmp_path, **settings)
    killed.register_hook(Kill())
    with pytest.raises(Killed):
        killed.train()
    runner = build(tmp_path, resume=True, **settings)
    runner.train()
    assert runner.epoch == 4
    assert not (tmp_path / 'epoch_5.pth').exists()


def test_a_checkpoint_after_which_a_training_stopped_is_not_trained_on(tmp_path):
    settings = dict(STOPPING, hooks=PATIENT)
    build(tmp_path, **settings).train()
    runner = build(tmp_path, resume=True, **settings)
    runner.train()
    assert runner.epoch == 4


def test_precise_statistics_in_a_training_by_iterations_are_refused(tmp_path):
    pytest.importorskip('mmpretrain')
    hooks = [dict(type='mmrecall.ExactResumeHook'), dict(type='mmpretrain.PreciseBNHook', num_samples=16)]
    with pytest.raises(ValueError, match='PreciseBNHook takes batches out of a training by iterations'):
        build(tmp_path, iterations=3, hooks=hooks).train()
