"""The classifier of OLTR, and its memory."""

from typing import Any

import torch
from mmpretrain.models.heads import ClsHead
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmrecall.functional import MemoryBatch, memory_batch, memory_loss, meta_embedding, squashed_cosine
from mmrecall.functional.batch import Sums
from mmrecall.functional.validation import check_number, count_invalid_labels
from mmrecall.losses.distributed import LabelCheck, announce_refusal, is_distributed, reduce
from mmrecall.models.first_stage import FirstStage
from mmrecall.registry import MODELS, register

# the default of PyTorch's cross entropy
_IGNORE_INDEX = -100
# vectors in the all-reduce
_NUM_COUNTS = len(MemoryBatch._fields)


@register(MODELS)
class OLTRHead(ClsHead):
    """Dynamic meta-embedding and cosine classifier of OLTR: `mmrecall.functional.meta_embedding` of every feature.

    Liu et al., "Large-scale long-tailed recognition in an open world", CVPR 2019. The memory is one centroid per class,
    a parameter in the checkpoint. It begins with the class means (`ClassMemoryHook`; zeros for a class without images),
    and a second loss, `mmrecall.functional.memory_loss`, trains it: the classification loss has no gradient for it. The
    hallucinator begins with the first stage's classifier. For the classifier `OLTR`.

    Args:
        num_classes: C, the number of classes.
        in_channels: D, channels of the features.
        memory_loss_weight: weight of the memory's loss, at least 0; 0.01 in the authors' code. As there, it does
            not scale the pull on the centroids.
        options: ``loss``, ``topk`` and ``cal_acc`` of mmpretrain's `ClsHead`.

    Shape:
        - feats: a tuple, of which the last is (N, D); computed in the weights' dtype, never in autocast's.
        - output of forward: (N, C), between -16 and 16.

    Raises:
        ValueError: the memory is not filled yet; in training, a label that is no class, on CPUs on all ranks. A
            label of -100 is left out, as by PyTorch's cross entropy.

    Example:
        >>> head = OLTRHead(num_classes=2, in_channels=2)
        >>> head.set_means(sums=torch.tensor([[6.0, 8.0], [0.0, 3.0]]), counts=torch.tensor([2, 3]))
        >>> head.memory.tolist()
        [[3.0, 4.0], [0.0, 1.0]]
        >>> losses = head.loss((torch.tensor([[3.0, 3.0]]),), [DataSample().set_gt_label(0)])
        >>> sorted(losses)
        ['loss_cls', 'loss_memory']
    """

    # the number of images of every class whose mean the memory began with
    counts: Tensor

    def __init__(self, num_classes: int, in_channels: int, memory_loss_weight: float = 0.01, **options: Any) -> None:
        super().__init__(**options)
        check_number('memory_loss_weight', memory_loss_weight)
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.memory_loss_weight = memory_loss_weight
        self.hallucinator = nn.Linear(in_channels, num_classes)
        self.selector = nn.Linear(in_channels, in_channels)
        self.fc = nn.Linear(in_channels, num_classes, bias=False)
        self.memory = nn.Parameter(torch.zeros(num_classes, in_channels))
        self.register_buffer('counts', torch.zeros(num_classes, dtype=torch.long))
        # A flag on the host spares a wait for the device.
        self.is_filled = False
        self._label_check = LabelCheck(type(self).__name__)

    def take_classifier(self, first_stage: FirstStage) -> None:
        """Let the hallucinator begin as the classifier of the first stage."""
        first_stage.fill_classifier(self.hallucinator)

    def set_means(self, sums: Tensor, counts: Tensor) -> None:
        """Fill the memory with means, from (C, D) sums of features and (C,) numbers of images."""
        with torch.no_grad():
            self.memory.copy_(sums / counts.clamp(min=1)[:, None])
        self.counts.copy_(counts)
        self.is_filled = True

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Return the logits."""
        if not self.is_filled:
            raise ValueError(
                'the memory is not filled yet; add the ClassMemoryHook to custom_hooks, or load a checkpoint of '
                'this stage'
            )
        features = self.pre_logits(feats)
        with torch.autocast(features.device.type, enabled=False):
            features = features.to(self.memory.dtype)
            embedding = meta_embedding(
                features, self.memory.detach(), self.hallucinator(features), self.selector(features)
            )
            return squashed_cosine(embedding, self.fc.weight)

    def loss(self, feats: tuple[Tensor, ...], data_samples: list[DataSample], **options: Any) -> dict[str, Tensor]:
        """Return the classification loss, ``loss_cls``, and that of the memory, ``loss_memory``."""
        # On CPUs this loss raises on all ranks for a bad label of one, so it comes first.
        losses = {'loss_memory': self._memory_loss(feats, data_samples)}
        losses |= super().loss(feats, data_samples, **options)
        # mmengine logs the sum of all terms as ``loss``
        losses['loss_cls'] = losses.pop('loss')
        return losses

    def _memory_loss(self, feats: tuple[Tensor, ...], data_samples: list[DataSample]) -> Tensor:
        # a pass without gradients, by one rank alone for example, waits for no other
        is_training_step = self.training and torch.is_grad_enabled()
        has_peers = is_training_step and is_distributed(sync=True)
        with torch.autocast(self.memory.device.type, enabled=False):
            try:
                features, labels = self._features_and_labels(feats, data_samples)
                sums = self._sums(features, labels)
            except Exception:
                # whatever it is, the others must not wait
                if has_peers:
                    announce_refusal(self.num_classes, self.memory.device, _NUM_COUNTS)
                raise
            if has_peers:
                sums = reduce(sums, self.num_classes, _NUM_COUNTS)
            self._label_check(sums, labels, self.num_classes, _IGNORE_INDEX, is_training_step)
            batch = MemoryBatch(*(count.to(features) for count in sums.counts))
            return memory_loss(features, labels, self.memory, self.memory_loss_weight, batch, sums.num_ranks)

    def _features_and_labels(self, feats: tuple[Tensor, ...], data_samples: list[DataSample]) -> tuple[Tensor, Tensor]:
        if 'gt_score' in data_samples[0]:
            raise ValueError(
                'got soft labels (gt_score); OLTR expects one class per image; remove batch augmentations such as Mixup'
            )
        return self.pre_logits(feats).to(self.memory.dtype), torch.cat([one.gt_label for one in data_samples])

    def _sums(self, features: Tensor, labels: Tensor) -> Sums:
        return Sums(
            losses=None,
            num_samples=features.new_zeros(()),
            counts=memory_batch(features, labels, self.memory),
            invalid_labels=count_invalid_labels(labels, self.num_classes, _IGNORE_INDEX),
        )

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *arguments: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *arguments)
        # A memory of another size is not copied.
        self.is_filled = bool(self.counts.any())
