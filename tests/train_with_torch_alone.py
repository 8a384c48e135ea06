"""Twenty training steps with every loss, in one process and on two gloo ranks, with PyTorch and NumPy alone."""

import os
import sys
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from mmrecall import losses

CLASSES, FEATURES, STEPS = 4, 3, 20
COUNTS = [70, 20, 8, 2]
OPTIONS = {
    'running recall': (losses.RecallLoss, dict(alpha=0.3, num_classes=CLASSES)),
    'WeightedCrossEntropyLoss': (
        losses.WeightedCrossEntropyLoss,
        dict(class_weight='inverse_frequency', class_counts=COUNTS),
    ),
    'LDAMLoss': (losses.LDAMLoss, dict(class_counts=COUNTS)),
    'LogitAdjustedLoss': (losses.LogitAdjustedLoss, dict(class_counts=COUNTS)),
    'BalancedSoftmaxLoss': (losses.BalancedSoftmaxLoss, dict(class_counts=COUNTS)),
    # each rank draws noise of its own, which so large a sigma clamps to 1
    'BalancedLogitVariationLoss': (losses.BalancedLogitVariationLoss, dict(class_counts=COUNTS, sigma=1e12)),
    # choose or sort among the samples of a rank: equal where that is all of them
    'OHEMCrossEntropyLoss': (losses.OHEMCrossEntropyLoss, dict(keep_ratio=1.0)),
    'LovaszSoftmaxLoss': (losses.LovaszSoftmaxLoss, dict(per_image=True)),
}
BASES = (losses.BaseLoss, losses.FeatureLoss)


def all_losses():
    """Return every loss of the package by its name, and the running recall."""
    found = {
        cls.__name__: OPTIONS.get(cls.__name__, (cls, {}))
        for cls in vars(losses).values()
        if isinstance(cls, type) and issubclass(cls, BASES) and cls not in BASES
    }
    return {'running recall': OPTIONS['running recall'], **found}


def batch_of(step):
    generator = torch.Generator().manual_seed(step)
    images = torch.randn(4, FEATURES, 5, 5, generator=generator, dtype=torch.float64)
    target = torch.randint(CLASSES, (4, 5, 5), generator=generator)
    target[torch.rand(target.shape, generator=generator) < 0.2] = -100
    return images, target


def train(name, part, world_size):
    """Return the weights after training on a part of every batch."""
    cls, options = all_losses()[name]
    loss = cls(**options)
    torch.manual_seed(0)
    model = nn.Conv2d(FEATURES, CLASSES, 1).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for step in range(STEPS):
        images, target = (tensor[part] for tensor in batch_of(step))
        scores = model(images)
        if isinstance(loss, losses.FeatureLoss):
            scores, target = scores.mean(dim=(2, 3)), target[:, 0, 0].clamp(min=0)
        optimizer.zero_grad()
        loss(scores, target).backward()
        for parameter in model.parameters() if world_size > 1 else ():
            # as DistributedDataParallel does
            dist.all_reduce(parameter.grad)
            parameter.grad /= world_size
        optimizer.step()
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def train_as_rank(rank, folder):
    dist.init_process_group('gloo', f'file://{folder}/meeting', rank=rank, world_size=2)
    part = slice(0, 3) if rank == 0 else slice(3, 4)
    found = {name: train(name, part, 2) for name in all_losses()}
    torch.save(found, f'{folder}/{rank}.pt')
    dist.barrier()
    dist.destroy_process_group()


def main():
    with tempfile.TemporaryDirectory() as folder:
        children = []
        for rank in range(2):
            child = os.fork()
            if not child:
                train_as_rank(rank, folder)
                sys.stdout.flush()
                os._exit(0)
            children.append(child)
        assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
        ranks = [torch.load(Path(folder) / f'{rank}.pt') for rank in range(2)]
    torch.manual_seed(0)
    untrained = torch.cat([one.detach().flatten() for one in nn.Conv2d(FEATURES, CLASSES, 1).double().parameters()])
    for name in all_losses():
        trained = train(name, slice(0, 4), 1)
        print(name, 'trained 20 steps:', bool(trained.isfinite().all() and (trained - untrained).abs().max() > 1e-3))
        equal = all(torch.allclose(weights[name], trained, rtol=1e-9, atol=1e-9) for weights in ranks)
        print(name, 'two ranks equal one process:', equal)


if __name__ == '__main__':
    main()
