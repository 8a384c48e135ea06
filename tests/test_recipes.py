"""Every snippet of docs/recipes.md runs and trains, with the library itself or with a stand-in where there is none."""

import functools
import re
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from torch.utils.data import DataLoader

from mmrecall.losses import BaseLoss

PAGE = Path(__file__).parents[1] / 'docs' / 'recipes.md'


def snippets():
    # each block with the lines above it, so that a traceback points to its line of the page
    title, found, text = '', [], PAGE.read_text(encoding='utf-8')
    for match in re.finditer(r'^##+ ([^\n]+)$|^```python\n(.*?)^```$', text, re.MULTILINE | re.DOTALL):
        title = match[1] or title
        if match[2]:
            lines = text[: match.start(2)].count('\n')
            found.append((title, '\n' * lines + match[2]))
    return found


(_, DATA), *_others = snippets()
SNIPPETS = dict(_others)
DISTRIBUTED = 'Several GPUs'


def execute(code):
    names = {'__name__': 'recipe'}
    for part in (DATA, code):
        exec(compile(part, str(PAGE), 'exec'), names)
    return names


@contextmanager
def recorded():
    """The values of all losses, and whether each step of an optimizer changed a weight."""
    losses, steps = [], []
    optimizer_class = torch.optim.AdamW
    step = optimizer_class.step

    def keep_loss(module, _, output):
        if isinstance(module, BaseLoss):
            losses.append(output.item())

    # not a hook: PyTorch 2.1 forgets those of optimizers once it has compiled something
    @functools.wraps(step)
    def step_and_compare(optimizer, *args, **kwargs):
        weights = [weight for group in optimizer.param_groups for weight in group['params']]
        before = [weight.detach().clone() for weight in weights]
        result = step(optimizer, *args, **kwargs)
        steps.append(any(not new.equal(old) for new, old in zip(weights, before, strict=True)))
        return result

    hook = register_module_forward_hook(keep_loss)
    optimizer_class.step = step_and_compare
    try:
        yield losses, steps
    finally:
        hook.remove()
        optimizer_class.step = step


class LightningModule(nn.Module):
    def log(self, name, value, sync_dist=False):
        assert isfinite(value.detach())


class LightningTrainer:
    def __init__(self, max_epochs):
        self.max_epochs = max_epochs

    def fit(self, model, train_dataloaders):
        self.model = model.train()
        optimizer = model.configure_optimizers()
        for _ in range(self.max_epochs):
            for index, batch in enumerate(train_dataloaders):
                optimizer.zero_grad()
                model.training_step(batch, index).backward()
                optimizer.step()

    def save_checkpoint(self, filepath):
        torch.save({'state_dict': self.model.state_dict()}, filepath)


@dataclass
class TrainingArguments:
    output_dir: str
    max_steps: int
    per_device_train_batch_size: int
    average_tokens_across_devices: bool


class HuggingFaceTrainer:
    def __init__(self, model, args, train_dataset, compute_loss_func):
        self.model, self.args = model, args
        self.train_dataset, self.compute_loss_func = train_dataset, compute_loss_func

    def train(self):
        self.model.train()
        optimizer = torch.optim.AdamW(self.model.parameters())
        loader = DataLoader(self.train_dataset, self.args.per_device_train_batch_size)
        for _, inputs in zip(range(self.args.max_steps), loader, strict=False):
            labels = inputs.pop('labels')
            outputs = self.model(**inputs)
            optimizer.zero_grad()
            self.compute_loss_func(outputs, labels, num_items_in_batch=labels.ne(-100).sum()).backward()
            optimizer.step()


class Segformer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.decode_head = nn.Conv2d(3, config.num_labels, kernel_size=4, stride=4)

    def forward(self, pixel_values):
        return SimpleNamespace(logits=self.decode_head(pixel_values))


STAND_INS = {
    'lightning': dict(LightningModule=LightningModule, Trainer=LightningTrainer),
    'transformers': dict(
        SegformerConfig=SimpleNamespace,
        SegformerForSemanticSegmentation=Segformer,
        Trainer=HuggingFaceTrainer,
        TrainingArguments=TrainingArguments,
    ),
}


@pytest.fixture(autouse=True)
def _libraries(monkeypatch, tmp_path):
    for name, content in STAND_INS.items():
        if find_spec(name) is None:
            module = ModuleType(name)
            vars(module).update(content)
            monkeypatch.setitem(sys.modules, name, module)
    # the snippets write checkpoints
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def _tests_cannot_be_imported(monkeypatch):
    # transformers takes tests/datasets for the library of that name
    monkeypatch.setattr(sys, 'path', [path for path in sys.path if Path(path).resolve() != Path(__file__).parent])


@pytest.mark.usefixtures('_tests_cannot_be_imported')
@pytest.mark.parametrize('title', [title for title in SNIPPETS if title != DISTRIBUTED])
def test_a_snippet_computes_finite_losses_and_takes_steps(title):
    with recorded() as (losses, steps):
        execute(SNIPPETS[title])
    assert len(losses) >= 2
    assert all(map(isfinite, losses))
    assert min(losses) > 0
    assert steps == [True, True]


def run_on_rank(rank, world_size, code):
    with recorded() as (losses, steps):
        names = execute(code)
    weights = [weight.flatten().tolist() for weight in names['model'].parameters()]
    return losses, steps, names['loss_fn'].recall.tolist(), weights, names['logged'].item()


def test_the_snippet_for_several_gpus_trains_two_ranks_alike(two_ranks):
    code = SNIPPETS[DISTRIBUTED]
    (losses, steps, *first), (other_losses, other_steps, *second) = two_ranks.run(run_on_rank, code)
    assert all(map(isfinite, losses + other_losses))
    assert steps == other_steps == [True, True]
    assert first == second
    assert first[-1] == pytest.approx((losses[-1] + other_losses[-1]) / 2)
    assert max(first[0]) > 0


@pytest.mark.usefixtures('_tests_cannot_be_imported')
@pytest.mark.parametrize(('title', 'buffer'), [('Lightning', 'loss_fn.recall'), ('Hugging Face', 'recall_loss.recall')])
def test_the_running_recall_is_saved_with_the_model(title, buffer):
    names = execute(SNIPPETS[title])
    assert names['model'].state_dict()[buffer].max() > 0
    if title == 'Lightning':
        saved = torch.load('last.ckpt', weights_only=False)['state_dict']
        assert saved[buffer].equal(names['model'].state_dict()[buffer].cpu())


def test_the_table_names_every_section():
    table = dict(re.findall(r'^\| \[(.+?)\]\(#(.+?)\)', PAGE.read_text(encoding='utf-8'), re.MULTILINE))
    titles = {re.sub(r'[^\w-]', '', title.lower().replace(' ', '-')) for title in SNIPPETS}
    assert set(table.values()) == titles - {'a-running-recall', 'class-counts'}
