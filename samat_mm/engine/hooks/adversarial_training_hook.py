"""PGD adversarial training: train on what an attack makes of each batch."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.registry import HOOKS
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from samat_mm.crafting.crafting import Crafting
from samat_mm.engine.hooks.input_perturbation_hook import InputPerturbationHook
from samat_mm.engine.hooks.radius_schedule import scaled
from samat_mm.engine.training_summary import Say, attack_summary
from samat_mm.model_state import unwrapped
from samat_mm.perturbations.inputs import Attack
from samat_mm.pixels.input_space import InputSpace
from samat_mm.presets import image_attack


@HOOKS.register_module()
class AdversarialTrainingHook(InputPerturbationHook):
    """Replaces every training batch by adversarial images, or perturbs the embeddings of its sentences.

    The images are crafted on the preprocessed batch (after any batch augmentation), at the current weights, in
    evaluation mode and without touching statistics or gradients. There is one perturbation per iteration: a
    sharpness-aware optimizer wrapper replays its forward on the same images. PGD with one step from a random start is
    fast adversarial training.

    Text has the same hook: for a model that embeds tokens, eps and step_size are in the units of the embeddings, a
    radius bounds the perturbation of a whole sentence, and FGSM with the norm 'l2' is the fast gradient method of
    Miyato et al. (ICLR 2017). They add the loss of the unperturbed sentence; here, as with images, a step trains on the
    perturbed one alone.

    Source: Madry et al., ICLR 2018; Wong et al., ICLR 2020; equation 2 of the duality paper.

    Args:
        attack: config of an attack; for images, eps and step_size in [0, 1] pixel units whatever the model's mean and
            std.
        craft_dtype: precision of the attack, 'float32', 'bfloat16' or 'mixed'; None for the precision of training.
        eps_scheduler: config of MMEngine's parameter schedulers, or of several, with ``param_name='eps'``: the step
            size follows the radius, which is logged as ``eps``.
        pixel_range: values of the images that stand for the pixels 0 and 1; by default the config's, or 0 and 255.

    Raises:
        ValueError: if a value is out of its range.
    """

    def __init__(
        self,
        attack: dict | Attack,
        craft_dtype: str | None = None,
        eps_scheduler: dict | Sequence[dict] | None = None,
        pixel_range: Sequence[float] | None = None,
    ) -> None:
        super().__init__(eps_scheduler, pixel_range)
        self.attack = image_attack(attack)
        Crafting.check(craft_dtype)
        self.craft_dtype = craft_dtype
        if eps_scheduler is not None:
            scaled(self.attack, 0.5)  # refuses an attack that cannot be scaled

    def full_radius(self) -> float:
        """Return the radius of the attack."""
        return self.attack.eps

    @property
    def aims_at_logits(self) -> bool:
        """Whether the attack's objective takes logits."""
        return self.attack.objective.output == 'logits'

    def summary(self, say: Say) -> str:
        """Return the attack with its parameters."""
        return attack_summary(self.attack, say)

    def register_forward_hooks(self, model: nn.Module) -> list[RemovableHandle]:
        """Register the hook that replaces the input."""
        self._crafting = Crafting(unwrapped(model), self.craft_dtype)
        return [model.register_forward_pre_hook(self._perturb, with_kwargs=True)]

    @torch.compiler.disable  # a compiled forward must neither bake in one batch nor unroll the attack
    def _perturb(self, model: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]] | None:
        space = self.input_space(unwrapped(model), kwargs)
        return None if space is None else (args, {**kwargs, **space.arguments(self.adversarial_points(space))})

    def adversarial_points(self, space: InputSpace) -> Tensor:
        """Return what the attack makes of the points of a batch."""
        indices = range(self._first_index, self._first_index + len(space.inputs))
        return self._crafting.attack(space, self.due_attack(), indices, training=True)

    def due_attack(self) -> Attack:
        """Return the attack at the current radius."""
        return scaled(self.attack, self.schedule.factor)
