"""Trained models of mmseg and mmpretrain whose last layer can be given another bias."""

from collections.abc import Iterator
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import Tensor, nn

from mmrecall.analysis.build_model import build_model
from mmrecall.analysis.trained_runs import TrainedRun
from mmrecall.config_files import read_config
from mmrecall.io import load_weights

SEGMENTATION, CLASSIFICATION = 'segmentation', 'classification'
# Layer that computes the scores. In a decoupled network the first of the two in a head is the one that predicts.
_LAST_LAYERS = {
    SEGMENTATION: ('decode_head.conv_seg',),
    CLASSIFICATION: ('head.classifier_head.fc', 'head.fc'),
}
# mmseg's default
_IGNORE_INDEX = {SEGMENTATION: 255, CLASSIFICATION: -100}


class TrainedModel:
    """Model of mmseg or mmpretrain with its weights, and the validation data of its config.

    Args:
        run: config and checkpoint; no code in the checkpoint is run, see `read_checkpoint`.
        device: ``'cpu'`` or ``'cuda'``.
        options: settings that override those of the config.

    Attributes:
        kind: ``'segmentation'`` or ``'classification'``.
        layer_name: name in the model of the layer that computes the scores.
        classes: names of the classes, in the order of their numbers.

    Raises:
        FileNotFoundError: the checkpoint or a file of the data set is missing.
        ValueError: a config without validation data or class names, a model whose scores are not those of one layer
            with a bias, or a checkpoint of another model.
    """

    def __init__(self, run: TrainedRun, device: str = 'cpu', options: dict[str, Any] | None = None) -> None:
        self.run = run
        self.config: Config = read_config(run.config, options)
        self._device = device
        self._model = build_model(self.config).to(device).eval().requires_grad_(False)
        self.kind = SEGMENTATION if hasattr(self._model, 'decode_head') else CLASSIFICATION
        self.layer_name, self._layer = self._find_layer()
        self.weights = load_weights(self._model, run.checkpoint, run.config)
        if not self.config.get('val_dataloader'):
            raise ValueError(f'{run.config} has no val_dataloader; expected a config with validation data')
        init_default_scope(self.config.get('default_scope', 'mmengine'))
        self._loader = Runner.build_dataloader(self.config.val_dataloader)
        dataset = self._loader.dataset
        self.classes = tuple(dataset.metainfo.get('classes') or ())
        if len(self.classes) != self.num_classes:
            raise ValueError(
                f'got {len(self.classes)} class names in the validation data of {run.config} and {self.num_classes} '
                'scores of its model; expected as many'
            )
        self.ignore_index = getattr(dataset, 'ignore_index', _IGNORE_INDEX[self.kind])

    @property
    def num_classes(self) -> int:
        """Number of scores, C."""
        return len(self._layer.bias)

    def _find_layer(self) -> tuple[str, nn.Module]:
        names = list(_LAST_LAYERS[self.kind])
        if isinstance(getattr(self._model, 'decode_head', None), nn.ModuleList):
            # The last head of a cascade predicts.
            names = [f'decode_head.{len(self._model.decode_head) - 1}.conv_seg']
        if getattr(getattr(self._model, 'decode_head', None), 'out_channels', None) == 1:
            raise ValueError(
                f'the model of {self.run.config} has one channel; expected a softmax model; for one channel, '
                'choose the threshold of its head'
            )
        modules = dict(self._model.named_modules())
        for name in names:
            bias = getattr(modules.get(name), 'bias', None)
            if bias is not None and len(bias) > 1:
                return name, modules[name]
        raise ValueError(
            f'the model of {self.run.config} has no layer {" or ".join(names)} with a bias and a score for every '
            'class, into which the adjustment could be folded; expected a softmax model with such a layer'
        )

    @torch.no_grad()
    def predictions(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield scores (N, C, ...) and labels (N, ...), in segmentation of one image at the size of its labels.

        Raises:
            ValueError: an image without labels, or labels of another size than the prediction, or scores that a bias
                of the layer does not shift.
        """
        for number, batch in enumerate(self._loader):
            found = self._scores(batch)
            if number == 0:
                self._check_shift(batch, found[0][0])
            yield from found

    def _scores(self, batch: Any) -> list[tuple[Tensor, Tensor]]:
        if self.kind == SEGMENTATION:
            return [self._of_image(sample) for sample in self._model.test_step(batch)]
        data = self._model.data_preprocessor(batch, False)
        scores = self._model(data['inputs'], mode='tensor')
        labels = torch.cat([sample.gt_label for sample in data['data_samples']])
        if len(labels) != len(scores):
            raise ValueError(f'got several labels of an image of {self.run.config}; expected one class for each image')
        return [(scores, labels.to(scores.device))]

    def _of_image(self, sample: Any) -> tuple[Tensor, Tensor]:
        if 'gt_sem_seg' not in sample:
            raise ValueError(
                f'the validation of {self.run.config} loads no labels; add LoadAnnotations to its pipeline'
            )
        scores, labels = sample.seg_logits.data[None], sample.gt_sem_seg.data
        if scores.shape[2:] != labels.shape[1:]:
            raise ValueError(
                f'got labels of size {tuple(labels.shape[1:])} and a prediction of size {tuple(scores.shape[2:])} for '
                f'{sample.img_path}; load the labels after the resize in the pipeline, as mmseg does'
            )
        return scores, labels.to(scores.device)

    def _check_shift(self, batch: Any, scores: Tensor) -> None:
        """Check that a bias of the last layer is added to the scores, which other layers or a softmax may follow."""
        shift = torch.linspace(-2, 2, self.num_classes, device=scores.device)
        before = self._layer.bias.clone()
        self._layer.bias += shift
        shifted = self._scores(batch)[0][0]
        self._layer.bias.copy_(before)
        expected = scores + shift.reshape(-1, *[1] * (scores.ndim - 2))
        if not torch.allclose(shifted, expected, rtol=1e-3, atol=1e-3):
            raise ValueError(
                f'the scores of {self.run.config} are not shifted by a bias of {self.layer_name}; expected a model '
                'whose last layer it is'
            )
