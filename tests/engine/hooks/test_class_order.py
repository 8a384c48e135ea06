import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.runner import FlexibleRunner, Runner
from small_runner import Flowers, Model
from torch.utils.data import DataLoader

from mmrecall.engine import run_stock_tool
from mmrecall.losses import WeightedCrossEntropyLoss


class Count(BaseMetric):
    """Number of the batches."""

    def process(self, data_batch, data_samples):
        self.results.append(1)

    def compute_metrics(self, results):
        return dict(batches=len(results))


class Predicting(Model):
    def test_step(self, data):
        return [dict()]

    val_step = test_step


@pytest.fixture
def command(monkeypatch, tmp_path):
    """The commands, whose stock tool is a function of a test."""

    def run(name, tool):
        (tmp_path / 'config.py').write_text("default_scope = 'mmseg'")
        monkeypatch.setattr('mmrecall.engine.stock_tools.stock_tool', lambda toolbox, name: name)
        monkeypatch.setattr('mmrecall.engine.stock_tools.runpy.run_path', lambda path, **options: tool())
        monkeypatch.setattr('mmrecall.engine.stock_tools.load_weights_only', lambda: None)
        run_stock_tool(name, [str(tmp_path / 'config.py')])

    return run


def loader(classes):
    return DataLoader(Flowers(classes=classes), batch_size=4)


def runner(folder, name, classes=('a', 'b', 'c'), validated=None, kind=Runner, epochs=1, **options):
    parts = dict(
        train=dict(
            train_dataloader=loader(classes),
            train_cfg=dict(by_epoch=True, max_epochs=epochs),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
            val_dataloader=loader(validated or classes),
            val_cfg=dict(),
            val_evaluator=[Count()],
        ),
        test=dict(test_dataloader=loader(classes), test_cfg=dict(), test_evaluator=[Count()]),
    )
    strategy = dict(strategy=dict(type='SingleDeviceStrategy')) if kind is FlexibleRunner else {}
    return kind(
        model=Predicting(WeightedCrossEntropyLoss()),
        work_dir=str(folder / 'work'),
        experiment_name=f'{folder.name} {name} {options} {classes} {epochs}',
        log_level='WARNING',
        **parts[name],
        **strategy,
        **options,
    )


@pytest.fixture
def trained(tmp_path):
    """A checkpoint of the classes a, b, c."""
    runner(tmp_path, 'train').train()
    return str(tmp_path / 'work' / 'epoch_1.pth')


@pytest.mark.parametrize('kind', [Runner, FlexibleRunner])
def test_a_test_on_the_classes_of_the_checkpoint_in_another_order_is_refused(kind, command, trained, tmp_path):
    def test():
        return runner(tmp_path, 'test', ('a', 'c', 'b'), kind=kind, load_from=trained).test()

    with pytest.raises(
        ValueError, match=r"epoch_1\.pth .*test_dataloader .*class 1 is 'b' .* 'c' .*a, b, c; and a, c, b"
    ):
        command('test', test)
    # without the command, the runner is mmengine's
    assert test() == dict(batches=2)


@pytest.mark.parametrize('kind', [Runner, FlexibleRunner])
def test_a_resumed_training_that_validates_on_another_order_is_refused(kind, command, trained, tmp_path):
    def train(**options):
        return runner(tmp_path, 'train', kind=kind, load_from=trained, epochs=2, **options).train()

    with pytest.raises(ValueError, match='val_dataloader'):
        command('train', lambda: train(resume=True, validated=('b', 'a', 'c')))
    with pytest.raises(ValueError, match='train_dataloader'):
        command('train', lambda: train(resume=True, classes=('b', 'a', 'c')))
    command('train', lambda: train(resume=True))


def test_a_training_that_begins_with_weights_learns_the_order_of_its_own_data(command, trained, tmp_path):
    command('train', lambda: runner(tmp_path, 'train', ('b', 'a', 'c'), load_from=trained).train())


@pytest.mark.parametrize(
    ('classes', 'difference'),
    [
        (('a', 'b', 'C'), "class 2 is 'c' there and 'C' in the data"),
        (('a', 'b'), 'there are 3, and 2 in the data'),
    ],
)
def test_other_names_are_tested_with_a_warning(classes, difference, command, trained, tmp_path, monkeypatch):
    warnings = []

    def test():
        built = runner(tmp_path, 'test', classes, load_from=trained)
        monkeypatch.setattr(built.logger, 'warning', warnings.append)
        assert built.test() == dict(batches=2)

    command('test', test)
    assert [difference in warning for warning in warnings] == [True]


@pytest.mark.parametrize('meta', [None, dict(classes=None), dict(classes=['a', 'b', 'c'])])
def test_a_checkpoint_without_names_or_with_the_same_is_tested_in_silence(
    meta, command, trained, tmp_path, monkeypatch
):
    content = torch.load(trained, weights_only=False)
    content['meta']['dataset_meta'] = meta
    torch.save(content, trained)

    def test():
        built = runner(tmp_path, 'test', load_from=trained)
        monkeypatch.setattr(built.logger, 'warning', lambda *words: pytest.fail(str(words)))
        assert built.test() == dict(batches=2)

    command('test', test)
