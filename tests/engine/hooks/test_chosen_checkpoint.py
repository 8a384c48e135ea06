"""The checkpoint that a run resumes from."""

import io
import itertools
import os
import re
import shutil
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from commands import free_port
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from resumable_run import Count, Network, Noisy, Scores, build, finish, logged, names, start

from mmrecall.engine.resume import check_intact, newest_intact
from mmrecall.losses import RecallLoss
from mmrecall.rank_zero import _DONE, _WORKING


def resume(work, **settings):
    runner = build(work, resume=True, **settings)
    runner.train()
    return runner


@pytest.fixture
def trained(tmp_path):
    """Work directory of a run with checkpoints at 3 and 6."""
    build(tmp_path, iterations=6).train()
    return tmp_path


def test_of_a_checkpoint_that_was_cut_off_the_one_before_is_taken_and_it_is_named(trained):
    broken = trained / 'iter_6.pth'
    broken.write_bytes(broken.read_bytes()[:-100])
    resume(trained, iterations=9)
    assert re.search(
        rf'{broken} was cut off after \d+ bytes; resuming from {trained}/iter_3.pth instead', logged(trained)
    )
    assert names(trained) == ['iter_6.pth', 'iter_9.pth']
    check_intact(broken)


def flipped(data):
    """One bit of the largest record, a weight or a state of the optimizer."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        record = max(archive.infolist(), key=lambda one: one.file_size if '/data/' in one.filename else 0)
    position = data.index(record.filename.encode(), record.header_offset) + 200
    return data[:position] + bytes([data[position] ^ 64]) + data[position + 1 :]


DAMAGED = {
    'a flipped bit': (flipped, r'is damaged \(the checksum of its part .*/data/\d+ is another\)'),
    'a zeroed part': (lambda data: data[:2000] + bytes(1000) + data[3000:], 'is damaged'),
    'a missing middle': (lambda data: data[:2000] + data[3000:], 'is damaged'),
    'zeros': (lambda data: bytes(len(data)), r'is no checkpoint of PyTorch; it begins with b.\\x00'),
    'garbage': (lambda data: b'garbage ' * 100, 'is no checkpoint of PyTorch'),
    'another archive': (lambda data: archive_of_a_text(), 'an archive without a data.pkl'),
}


def archive_of_a_text():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        archive.writestr('readme.txt', 'no weights')
    return buffer.getvalue()


@pytest.mark.parametrize('damage', DAMAGED)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(damage, trained):
    change, reason = DAMAGED[damage]
    last = trained / 'iter_6.pth'
    last.write_bytes(change(last.read_bytes()))
    with pytest.raises(ValueError, match=reason):
        check_intact(last)
    path, broken = newest_intact(trained, last, 'iter_{}.pth')
    assert path == trained / 'iter_3.pth'
    assert broken[0].startswith(f'{last} is ')


def test_a_resume_passes_over_a_flipped_bit(trained):
    last = trained / 'iter_6.pth'
    last.write_bytes(flipped(last.read_bytes()))
    resume(trained, iterations=6)
    assert re.search(rf'{last} is damaged .*; resuming from {trained}/iter_3.pth instead', logged(trained))
    check_intact(last)


@pytest.mark.parametrize('content', [None, b''])
def test_a_missing_or_empty_checkpoint_is_passed_over(trained, content):
    (trained / 'iter_6.pth').unlink()
    if content is not None:
        (trained / 'iter_6.pth').write_bytes(content)
    resume(trained, iterations=9)
    assert f'iter_6.pth is {"missing" if content is None else "empty"}' in logged(trained)


def test_an_empty_note_of_the_last_checkpoint_is_made_up_for(trained):
    (trained / 'last_checkpoint').write_text('')
    runner = resume(trained, iterations=6)
    assert 'last_checkpoint is empty; resuming from' in logged(trained)
    assert runner.iter == 6


def test_without_any_intact_checkpoint_nothing_begins_anew(trained):
    for name in names(trained):
        (trained / name).write_bytes(b'PK half')
    with pytest.raises(ValueError, match=r'no checkpoint to resume from: .*iter_6.*iter_3.*train from the start'):
        resume(trained, iterations=9)


def test_a_checkpoint_that_was_asked_for_is_not_replaced_by_another(trained):
    broken = trained / 'iter_6.pth'
    broken.write_bytes(broken.read_bytes()[:500])
    with pytest.raises(ValueError, match=r'iter_6\.pth was cut off'):
        resume(trained, iterations=9, load_from=str(broken))


@pytest.fixture
def elsewhere(tmp_path_factory):
    """Another run's checkpoint at 12."""
    folder = tmp_path_factory.mktemp('elsewhere')
    build(folder, iterations=12).train()
    return folder / 'iter_12.pth'


def test_what_a_run_began_with_is_not_what_it_resumes_from(trained, elsewhere):
    runner = build(trained, resume=True, iterations=9, load_from=str(elsewhere))
    runner.train()
    assert runner.iter == 9
    assert re.search(
        rf'Resuming from {trained}/iter_6.pth; load_from={elsewhere} .* copy it to {trained} and set load_from',
        logged(trained) + logged(elsewhere.parent),
    )


def resumed_iteration(work, monkeypatch, words, **settings):
    monkeypatch.setattr(sys, 'argv', ['train.py', 'config.py', *words])
    runner = build(work, resume=True, iterations=15, log_level='INFO', **settings)
    runner.call_hook('before_run')
    return int(re.search(r'iter_(\d+)', Path(runner._load_from).name)[1])


def test_the_file_of_the_flag_is_what_is_resumed_from(trained, elsewhere, monkeypatch):
    words = ['--resume', str(elsewhere)]
    assert resumed_iteration(trained, monkeypatch, words, load_from=str(elsewhere)) == 12
    assert 'by its name; last_checkpoint says iter_6.pth, which --resume without a file takes' in logged(trained)
    words = [f'--resume={trained}/iter_3.pth']
    assert resumed_iteration(trained, monkeypatch, words, load_from=f'{trained}/iter_3.pth') == 3


def test_a_requeued_run_does_not_go_back_to_the_file_of_the_flag(trained, elsewhere, monkeypatch):
    # slurm_job.sh adds the flag without a file, of which mmpretrain's tool makes load_from=None
    words = ['--resume', str(elsewhere), '--resume']
    assert resumed_iteration(trained, monkeypatch, words) == 6
    assert resumed_iteration(trained, monkeypatch, words, load_from=str(elsewhere)) == 6


@pytest.mark.parametrize('submitted', [None, 'before', 'after'])
@pytest.mark.parametrize('restart', ['0', '1'])
def test_a_requeued_job_that_was_submitted_with_a_file_goes_on_from_its_newest_checkpoint(
    restart, submitted, trained, monkeypatch
):
    monkeypatch.setenv('SLURM_RESTART_COUNT', restart)
    if submitted:
        # one that was submitted after the last checkpoint has written none yet
        (trained / 'slurm_command.sh').touch()
        now = (trained / 'last_checkpoint').stat().st_mtime
        os.utime(trained / 'slurm_command.sh', (now, now + (-9 if submitted == 'before' else 9)))
    goes_on = restart == '1' and submitted != 'after'
    found = resumed_iteration(trained, monkeypatch, ['--resume'], load_from=f'{trained}/iter_3.pth')
    assert found == (6 if goes_on else 3)
    message = rf'Resuming from {trained}/iter_6.pth and not from {trained}/iter_3.pth, .* \(SLURM_RESTART_COUNT=1\)'
    assert bool(re.search(message, logged(trained))) == goes_on


def test_a_requeued_job_without_a_checkpoint_begins_with_the_file_of_the_flag(tmp_path, elsewhere, monkeypatch):
    monkeypatch.setenv('SLURM_RESTART_COUNT', '1')
    words = ['--resume', str(elsewhere)]
    assert resumed_iteration(tmp_path, monkeypatch, words, load_from=str(elsewhere)) == 12


BEST = dict(by_epoch=False, interval=3, save_best='accuracy', rule='greater')


@pytest.fixture
def original(tmp_path):
    """Work directory of a run whose best checkpoint is that at 3, and whose last one is that at 6."""
    build(tmp_path / 'original', iterations=6, checkpoint=BEST, hooks=[Scores({3: 0.5})]).train()
    return tmp_path / 'original'


ALL = ['best_accuracy_iter_3.pth', 'iter_3.pth', 'iter_6.pth']


def test_a_copied_work_directory_reads_its_own_checkpoint_and_leaves_the_originals_alone(original, tmp_path):
    copy = tmp_path / 'copy'
    shutil.copytree(original, copy)
    # what is read of the original would fail
    (original / 'iter_6.pth').write_bytes(b'')
    better = [Scores({8: 0.7})]
    runner = build(copy, iterations=9, checkpoint=BEST, hooks=better, resume=True, log_level='INFO')
    runner.train()
    assert names(original) == ALL
    assert names(copy) == ['best_accuracy_iter_8.pth', 'iter_6.pth', 'iter_9.pth']
    assert re.findall('Removed (.*)', logged(copy)) == [f'{copy}/best_accuracy_iter_3.pth', f'{copy}/iter_3.pth']


def test_a_copy_without_its_best_checkpoint_leaves_that_of_the_original_alone(original, tmp_path):
    copy = tmp_path / 'copy'
    shutil.copytree(original, copy)
    (copy / ALL[0]).unlink()
    build(copy, iterations=9, checkpoint=BEST, hooks=[Scores({8: 0.7})], resume=True).train()
    assert names(original) == ALL


def test_a_renamed_work_directory_is_resumed_from(original, tmp_path):
    original.rename(tmp_path / 'renamed')
    runner = build(tmp_path / 'renamed', iterations=6, checkpoint=BEST, hooks=[], resume=True)
    runner.train()
    assert runner.iter == 6


def test_a_checkpoint_that_only_the_original_has_is_not_read(original, tmp_path):
    (tmp_path / 'copy').mkdir()
    shutil.copy(original / 'last_checkpoint', tmp_path / 'copy')
    with pytest.raises(ValueError, match=r'copy has no checkpoint to resume from: .*copy/iter_6\.pth is missing'):
        build(tmp_path / 'copy', iterations=9, resume=True).train()


@pytest.mark.parametrize('note', [None, bytes(40), b'\xff\xfe', b'/'])
def test_a_lost_note_of_the_last_checkpoint_is_made_up_for(note, trained):
    (trained / 'last_checkpoint').unlink()
    if note is not None:
        (trained / 'last_checkpoint').write_bytes(note)
    runner = resume(trained, iterations=6)
    reason = 'is missing' if note is None else '(is damaged: it holds|cannot be read)'
    assert re.search(rf'last_checkpoint {reason}.*; resuming from {trained}/iter_6.pth instead', logged(trained))
    assert runner.iter == 6


def test_an_address_in_the_note_is_not_fetched(trained):
    (trained / 'last_checkpoint').write_text('http://127.0.0.1:9/iter_6.pth')
    with pytest.raises(ValueError, match=r'last_checkpoint holds the address http://127.*, from which nothing'):
        resume(trained, iterations=9)


def test_a_run_that_has_no_checkpoint_yet_begins(tmp_path):
    assert resume(tmp_path, iterations=3).iter == 3


def test_a_folder_for_the_checkpoints_is_looked_into(tmp_path):
    settings = dict(checkpoint=dict(by_epoch=False, interval=3, out_dir=str(tmp_path / 'large')))
    build(tmp_path / 'work', iterations=3, **settings).train()
    (tmp_path / 'work' / 'last_checkpoint').unlink()
    assert resume(tmp_path / 'work', iterations=3, **settings).iter == 3
    assert f'resuming from {tmp_path}/large/work/iter_3.pth' in logged(tmp_path / 'work')


def test_the_other_ranks_hear_of_rank_zero_while_it_checks_a_checkpoint(trained, monkeypatch):
    # of 3 MiB, with a clock on which every reading comes seconds later
    (trained / 'iter_3.pth').unlink()
    torch.save(dict(weight=torch.ones(3 * 2**18)), trained / 'iter_3.pth')
    (trained / 'iter_6.pth').unlink()
    sent, clock = [], itertools.count(step=7)
    monkeypatch.setattr('mmrecall.rank_zero._broadcast_state', sent.append)
    monkeypatch.setattr('mmrecall.rank_zero.time', SimpleNamespace(monotonic=lambda: next(clock)))
    assert resumed_iteration(trained, monkeypatch, ['--resume']) == 3
    assert sent == [*[_WORKING] * (len(sent) - 1), _DONE]
    assert len(sent) > 3


EARLIER = 'has checkpoints of an earlier training: (.*)\\. This one starts from scratch'


def test_a_training_that_begins_anew_warns_of_the_checkpoints_there(original):
    build(original, iterations=3, checkpoint=BEST, hooks=[]).train()
    assert re.findall(EARLIER, logged(original)) == ['best_accuracy_iter_3.pth, iter_3.pth, iter_6.pth']
    assert (original / 'earlier_checkpoints').read_text().split() == ['best_accuracy_iter_3.pth', 'iter_6.pth']


def test_a_training_that_goes_on_warns_of_no_earlier_one(trained):
    resume(trained, iterations=9)
    assert not re.findall(EARLIER, logged(trained))
    assert not (trained / 'earlier_checkpoints').exists()


def begin_anew(work, killed_at, **settings):
    """A training of 12 iterations that is killed in one of them."""

    class Killed(Exception):
        """In that iteration."""

    class Kill(Hook):
        priority = 'LOWEST'

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            if runner.iter + 1 == killed_at:
                raise Killed

    runner = build(work, iterations=12, **settings)
    runner.register_hook(Kill())
    with pytest.raises(Killed):
        runner.train()


def test_a_resume_takes_no_checkpoint_of_an_earlier_training(trained):
    # The earlier training has 3 and 6, and this one 4.
    begin_anew(trained, 4, checkpoint=dict(by_epoch=False, interval=4))
    runner = build(trained, iterations=12, resume=True)
    runner.call_hook('before_run')
    assert runner._load_from == str(trained / 'iter_4.pth')
    # The note is lost, as is the training's only checkpoint: none of the others is taken for it.
    (trained / 'last_checkpoint').unlink()
    (trained / 'iter_4.pth').write_bytes(b'')
    with pytest.raises(ValueError, match=r'iter_4\.pth is empty'):
        resume(trained, iterations=12)


def test_a_resume_of_a_training_without_a_checkpoint_does_not_go_on_with_an_earlier_one(trained):
    begin_anew(trained, 2)
    with pytest.raises(ValueError, match=r'of an earlier one are iter_3\.pth, iter_6\.pth\. .* name it'):
        resume(trained, iterations=12)
    assert resume(trained, iterations=9, load_from=str(trained / 'iter_6.pth')).iter == 9
    # Its checkpoint at 9 is the newest now.
    assert resume(trained, iterations=12).iter == 12


def test_two_ranks_that_begin_anew_note_the_checkpoints_once(trained):
    assert finish(start(trained, ports=(free_port(),) * 2, iterations=3)) == [0, 0]
    assert (trained / 'earlier_checkpoints').read_text() == 'iter_6.pth\n'


def test_a_checkpoint_without_a_weight_of_the_model_is_refused(tmp_path):
    torch.save(dict(state_dict={'encoder.weight': torch.ones(2)}), tmp_path / 'other.pth')
    with pytest.raises(
        ValueError, match=r'other\.pth has no weight of this model: it holds encoder\.weight; .*layers\.0'
    ):
        build(tmp_path / 'work', iterations=3, load_from=str(tmp_path / 'other.pth')).train()


def with_classes(number):
    model = Network()
    model.layers[4] = torch.nn.Linear(8, number)
    model.loss_module = RecallLoss(alpha=0.3, num_classes=number)
    return model


ANOTHER = r'iter_3\.pth is of another model: layers\.4\.weight has shape \(3, 8\) there and \(4, 8\) in the model'


def test_another_number_of_classes_at_a_resume_or_a_test_is_named(tmp_path):
    build(tmp_path, iterations=3).train()
    with pytest.raises(ValueError, match=ANOTHER):
        build(tmp_path, iterations=6, model=with_classes(4), resume=True).train()
    last = str(tmp_path / 'iter_3.pth')
    loader = dict(batch_size=10, dataset=Noisy(), collate_fn=dict(type='default_collate'))
    loader['sampler'] = dict(type='DefaultSampler', shuffle=False)
    tested = dict(test_dataloader=loader, test_cfg=dict(), test_evaluator=Evaluator(Count()))
    with pytest.raises(ValueError, match=ANOTHER):
        build(tmp_path, iterations=3, model=with_classes(4), load_from=last, **tested).test()
    build(tmp_path, iterations=3, load_from=last, **tested).test()


def test_a_training_may_begin_with_the_weights_of_another_number_of_classes(tmp_path):
    build(tmp_path / 'first', iterations=3).train()
    last = str(tmp_path / 'first' / 'iter_3.pth')
    build(tmp_path / 'second', iterations=3, model=with_classes(4), load_from=last).train()


def test_a_smaller_number_of_checkpoints_to_keep_is_logged(trained):
    settings = dict(type='mmrecall.AtomicCheckpointHook', by_epoch=False, interval=3, max_keep_ckpts=1)
    default_hooks = dict(checkpoint=settings)
    # a logger of another name, because the first one's level stays
    build(trained, 6, 6, resume=True, default_hooks=default_hooks, log_level='INFO', experiment_name='few').train()
    assert names(trained) == ['iter_6.pth']
    assert f'Removed {trained}/iter_3.pth, because max_keep_ckpts is 1' in logged(trained)


def test_checkpoints_of_other_names_are_not_resumed_from(tmp_path):
    for name in ('iter_9.pth', 'iter_3.pth', 'best_accuracy_iter_4.pth', 'iter_3_old.pth'):
        torch.save({}, tmp_path / name)
    (tmp_path / 'iter_6.pth').write_bytes(b'')
    path, broken = newest_intact(tmp_path, tmp_path / 'iter_6.pth', 'iter_{}.pth')
    assert path == tmp_path / 'iter_3.pth'
    assert len(broken) == 1


def test_a_checkpoint_in_the_middle_of_an_epoch_lies_between_those_of_the_epochs(tmp_path):
    for name in ('epoch_1.pth', 'epoch_2.pth', 'epoch_2_iter_14.pth'):
        torch.save({}, tmp_path / name)
    (tmp_path / 'epoch_3.pth').write_bytes(b'')
    path, _ = newest_intact(tmp_path, tmp_path / 'epoch_3.pth', 'epoch_{}.pth')
    assert path.name == 'epoch_2_iter_14.pth'
