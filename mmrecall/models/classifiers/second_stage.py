"""The second stage of a decoupled training."""

from typing import Any

from mmpretrain.models import ImageClassifier
from torch import Tensor, nn

from mmrecall.models.first_stage import FirstStage
from mmrecall.registry import MODELS, register


@register(MODELS)
class SecondStageClassifier(ImageClassifier):
    """The second stage of a decoupled training: another classifier on the frozen features of a first stage.

    Kang et al., "Decoupling representation and classifier for long-tailed recognition", ICLR 2020. Backbone and neck
    are those of the first stage to the last bit, weights and buffers: they get no gradients, and stay in evaluation
    mode, so that the statistics of batch normalisation are frozen too (in the authors' code those go on moving). With
    a `LinearClsHead` and ``ClassProbabilitySampler('class_balanced')`` this is cRT; `LWSHead`, `TauNormHead` and
    `NearestClassMeanHead` are the others.

    Args:
        first_stage: checkpoint of any trained `ImageClassifier` with the same backbone and neck, a file of this
            machine; read when a training begins or goes on, and not for testing. (``load_from`` would bring the old
            classifier too.)
        frozen: whether backbone and neck stay as they are; `OLTR` can train them on.
        options: arguments of mmpretrain's `ImageClassifier`.

    Raises:
        FileNotFoundError: before training, there is no such checkpoint.
        ValueError: before training, the checkpoint is of another network; in training, features that got no weights,
            or a head without trainable weights.
    """

    def __init__(self, *arguments: Any, first_stage: str | None = None, frozen: bool = True, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.first_stage = first_stage
        self.frozen = frozen
        self._has_features = False
        if self.frozen:
            for part in self._features():
                part.requires_grad_(False)

    def train(self, mode: bool = True) -> 'SecondStageClassifier':
        """Set the mode of all parts; a frozen backbone and neck stay in evaluation mode."""
        super().train(mode)
        if self.frozen:
            for part in self._features():
                part.eval()
        return self

    def init_weights(self) -> None:
        """Read the first stage, and initialise the parts that are not in it."""
        if self.first_stage is None:
            super().init_weights()
            return
        for part in self._features():
            # Pretrained weights, which would be replaced at once, are not fetched.
            part.init_cfg = None
        super().init_weights()
        try:
            first_stage = FirstStage.read(self.first_stage)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f'{error}; train the first stage, or set model.first_stage to its checkpoint'
            ) from error
        first_stage.fill_features(self)
        if hasattr(self.head, 'take_classifier'):
            self.head.take_classifier(first_stage)
        self._has_features = True

    def loss(self, inputs: Tensor, data_samples: list[Any]) -> dict[str, Tensor]:
        """Return the losses of the head."""
        self.check_features()
        if not any(parameter.requires_grad for parameter in self.head.parameters()):
            raise ValueError(
                f'{type(self.head).__name__} has no parameters that are trained with gradients; set the train_cfg that '
                'its docstring shows'
            )
        return super().loss(inputs, data_samples)

    def check_features(self) -> None:
        """Raise ValueError if neither a first stage nor a checkpoint gave backbone and neck their weights."""
        if not self._has_features:
            raise ValueError(
                'the backbone has no weights of a first stage; set model.first_stage to the checkpoint of the first '
                'stage, or load a checkpoint of this stage'
            )

    def _features(self) -> list[nn.Module]:
        return [part for part in (self.backbone, self.neck) if part is not None]

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *arguments: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *arguments)
        self._has_features |= any(name.startswith(f'{prefix}backbone.') for name in state_dict)
