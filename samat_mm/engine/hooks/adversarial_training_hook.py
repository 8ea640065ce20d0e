"""PGD adversarial training: train on the images that an attack makes of each batch."""

from typing import Any

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor, nn

from samat_mm.models.pixel_space import PixelSpace
from samat_mm.models.replay import unwrapped
from samat_mm.perturbations.inputs import Attack
from samat_mm.registry import ATTACKS


@HOOKS.register_module()
class AdversarialTrainingHook(Hook):
    """Replaces every training batch by adversarial images.

    The images are crafted on the preprocessed batch (after any batch augmentation), at the current weights, in
    evaluation mode and without touching statistics or gradients. There is one perturbation per iteration: a
    sharpness-aware optimizer wrapper replays its forward on the same images.

    Source: Madry et al., ICLR 2018; equation 2 of the duality paper.

    Args:
        attack: config of an attack; eps and step_size in [0, 1] pixel units whatever the model's mean and std.
    """

    # Before any other hook of the user's that listens to the model's forward.
    priority = 'HIGH'

    def __init__(self, attack: dict | Attack) -> None:
        self.attack: Attack = ATTACKS.build(attack)
        self._raw_inputs: Any = None
        self._index = 0

    def before_train(self, runner: Runner) -> None:
        """Listen to the forward of the model."""
        self._handle = runner.model.register_forward_pre_hook(self._perturb, with_kwargs=True)

    def after_train(self, runner: Runner) -> None:
        """Stop listening."""
        self._handle.remove()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Remember the batch: its first loss forward will be on adversarial images.

        Raises:
            TypeError: if the batch has no ``inputs``.
        """
        if not isinstance(data_batch, dict) or 'inputs' not in data_batch:
            raise TypeError(
                "adversarial training expects batches {'inputs': images, 'data_samples': ...}; "
                f'got {type(data_batch).__name__}.'
            )
        self._raw_inputs = data_batch['inputs']
        # Unique for each image that this run ever draws, on every process.
        self._index = (runner.iter << 32) + (get_rank() << 20)

    def _perturb(self, model: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]] | None:
        raw_inputs, self._raw_inputs = self._raw_inputs, None
        if raw_inputs is None or kwargs.get('mode') != 'loss':
            return None
        inputs: Tensor = kwargs['inputs']
        with _no_half_precision(inputs.device):
            space = PixelSpace(unwrapped(model), raw_inputs, inputs.detach(), kwargs.get('data_samples') or [])
            indices = range(self._index, self._index + len(inputs))
            pixels = space.attack(self.attack, indices, training=True)
        return args, {**kwargs, 'inputs': space.to_inputs(pixels)}


def _no_half_precision(device: torch.device) -> torch.autocast:
    """Switch float16 autocast off: without a loss scale, input gradients underflow in it (bfloat16 is fine)."""
    half = torch.is_autocast_enabled(device.type) and torch.get_autocast_dtype(device.type) == torch.float16
    return torch.autocast(device.type, enabled=torch.is_autocast_enabled(device.type) and not half)
