"""FreeLB: train on every iterate of the attack at once."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.registry import HOOKS
from torch import nn

from samat_mm.engine.hooks.adversarial_training_hook import AdversarialTrainingHook
from samat_mm.engine.training_summary import Say, attack_summary
from samat_mm.model_state import unwrapped
from samat_mm.perturbations.inputs import Attack
from samat_mm.perturbations.inputs.iterates import Iterates
from samat_mm.replay.batch import subset

PUBLISHED = dict(type='PGD', norm='l2', eps=0.6, step_size=0.1, steps=3)


@HOOKS.register_module()
class FreeLBHook(AdversarialTrainingHook):
    """Replaces every training batch by K copies of it, one at each of the first K iterates of PGD.

    The mean loss over the copies has the gradient that FreeLB accumulates in K passes:
    ``1/K sum_t grad L(x + d_t)`` for ``t = 0 .. K - 1``, where ``d_0`` is random. (So it is for losses that are a mean
    over samples.) A sharpness-aware optimizer wrapper replays its forward on the same copies.

    Differences: FreeLB takes the gradients of inputs and weights from the same K passes, with one dropout mask for all
    of them. Here the perturbations are crafted beforehand, in evaluation mode, which adds K - 1 passes and leaves the
    optimizer's step to any wrapper; and each copy has its own dropout. Without dropout the steps are the same. The
    memory is that of a batch K times as large.

    Source: C. Zhu et al., ICLR 2020. The defaults are the authors' for sentiment in sentences (SST-2, ALBERT), where
    only the start was longer, 1 instead of eps.

    Args:
        attack: config of a PGD in the norm 'l2' with K steps; eps and step_size are in the units of the embeddings, or
            for images in [0, 1] pixel units.
        craft_dtype: precision of the attack, 'float32', 'bfloat16' or 'mixed'; None for the precision of training.
        eps_scheduler: config of MMEngine's parameter schedulers, or of several, with ``param_name='eps'``: the step
            size follows the radius, which is logged as ``eps``.
        pixel_range: values of the images that stand for the pixels 0 and 1; by default the config's, or 0 and 255.

    Raises:
        ValueError: if a value is out of its range, or the attack is another one.
    """

    def __init__(
        self,
        attack: dict | Attack = PUBLISHED,
        craft_dtype: str | None = None,
        eps_scheduler: dict | Sequence[dict] | None = None,
        pixel_range: Sequence[float] | None = None,
    ) -> None:
        super().__init__(attack, craft_dtype, eps_scheduler, pixel_range)
        Iterates(self.attack)  # refuses other attacks

    def summary(self, say: Say) -> str:
        """Return the attack with its parameters."""
        return f'FreeLB(attack={attack_summary(self.attack, say)})'

    def due_attack(self) -> Attack:
        """Return the attack at the current radius."""
        return Iterates(super().due_attack())

    @torch.compiler.disable
    def _perturb(self, model: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]] | None:
        space = self.input_space(unwrapped(model), kwargs)
        if space is None:
            return None
        count = len(space.inputs)
        changes = [space.arguments(points) for points in self.adversarial_points(space).split(count)]
        args, kwargs = subset(args, kwargs, torch.arange(count).repeat(len(changes)), count)
        return args, {**kwargs, **{name: torch.cat([change[name] for change in changes]) for name in changes[0]}}
