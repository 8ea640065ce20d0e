"""TRADES: the model's own loss on clean images, and the divergence that an attack can cause."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from samat_mm.crafting.crafting import Crafting
from samat_mm.engine.hooks.adversarial_training_hook import AdversarialTrainingHook
from samat_mm.engine.training_summary import Say, attack_summary
from samat_mm.errors import StepError, UnsupportedError
from samat_mm.model_state import buffers_aside, unwrapped
from samat_mm.perturbations.checks import non_negative
from samat_mm.perturbations.inputs import Attack
from samat_mm.perturbations.inputs.divergence import DivergenceAttack
from samat_mm.perturbations.inputs.objectives.kullback_leibler import KullbackLeibler
from samat_mm.pixels.further_arguments import with_arguments
from samat_mm.tasks import task_of

PUBLISHED = dict(type='PGD', norm='linf', eps='8/255', step_size='2/255', steps=10, random_start=False)


@HOOKS.register_module()
class TRADESHook(AdversarialTrainingHook):
    """Adds ``beta * KL(p(clean) || p(adversarial))`` to the losses of the model, as ``loss_trades``.

    The attack drives up that divergence. It is averaged over the images of a batch, and for segmentors over the
    labelled pixels of each; its logits are those that ``predict`` decides by. The model's own losses see clean images,
    and running statistics see the clean batch and the adversarial one, once each. A sharpness-aware optimizer wrapper
    replays both terms with the same perturbation. (A classifier of mmpretrain's calls its own loss ``loss``, which
    MMEngine then logs in the place of the sum.)

    Source: Zhang et al., Theoretically Principled Trade-off between Robustness and Accuracy, ICML 2019; the defaults
    are theirs for CIFAR-10.

    Args:
        beta: weight of the divergence, 1/lambda of the paper.
        attack: config of PGD; without a random start it begins 0.001 N(0, 1) from the image, as published.
        craft_dtype: precision of the attack, 'float32', 'bfloat16' or 'mixed'; None for the precision of training.
        eps_scheduler: config of MMEngine's parameter schedulers, or of several, with ``param_name='eps'``: the step
            size follows the radius, which is logged as ``eps``.
        pixel_range: values of the images that stand for the pixels 0 and 1; by default the config's, or 0 and 255.

    Raises:
        ValueError: if a value is out of its range, or the attack is not PGD.
    """

    def __init__(
        self,
        beta: float = 6.0,
        attack: dict | Attack = PUBLISHED,
        craft_dtype: str | None = None,
        eps_scheduler: dict | Sequence[dict] | None = None,
        pixel_range: Sequence[float] | None = None,
    ) -> None:
        super().__init__(attack, craft_dtype, eps_scheduler, pixel_range)
        self.beta = non_negative(beta, 'beta')
        DivergenceAttack(self.attack)  # refuses attacks other than PGD
        self._adversarial: dict[int, Tensor] = {}
        self._argument = 'inputs'

    def summary(self, say: Say) -> str:
        """Return the weight of the divergence, and the attack with its parameters."""
        return f'TRADES(beta={self.beta:g}, attack={attack_summary(self.attack, say)})'

    def register_forward_hooks(self, model: nn.Module) -> list[RemovableHandle]:
        """Register the hooks that craft, and that add the divergence to the losses."""
        # Inside a distributed wrapper, which has to see all that the loss depends on.
        inner = unwrapped(model)
        self._crafting = Crafting(inner, self.craft_dtype)
        return [
            inner.register_forward_pre_hook(self._craft, with_kwargs=True),
            inner.register_forward_hook(self._add_divergence, with_kwargs=True),
        ]

    def due_attack(self) -> Attack:
        """Return the attack at the current radius."""
        return DivergenceAttack(super().due_attack())

    @torch.compiler.disable
    def _craft(self, model: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        space = self.input_space(model, kwargs)
        if space is not None:
            # By sample, for a replay on some of them.
            ((self._argument, rows),) = space.arguments(self.adversarial_points(space)).items()
            self._adversarial = {id(sample): row for sample, row in zip(space.samples, rows, strict=True)}

    @torch.compiler.disable
    def _add_divergence(
        self, model: nn.Module, args: tuple, kwargs: dict[str, Any], losses: dict[str, Any]
    ) -> dict[str, Any] | None:
        if not self._adversarial or kwargs.get('mode') != 'loss':
            return None
        inputs, samples = kwargs['inputs'], kwargs['data_samples']
        if not all(id(sample) in self._adversarial for sample in samples):
            raise StepError(
                'TRADES expects every loss forward of an iteration to be on samples of its batch, for which it has '
                'adversarial images; got other samples.'
            )
        given = {**kwargs, self._argument: torch.stack([self._adversarial[id(sample)] for sample in samples])}
        task = self._task or task_of(model, samples)
        samples = task.in_training_geometry(samples, inputs)
        try:
            attacked = task.logits(with_arguments(model, given), given['inputs'], samples)
        except (AttributeError, TypeError) as error:
            raise UnsupportedError(
                f'TRADES needs the logits that {type(model).__name__} predicts by in training mode too, and its head '
                f'gives something else there ({error}); use AdversarialTrainingHook with this model.'
            ) from error
        with buffers_aside(model):
            clean = task.logits(with_arguments(model, kwargs), inputs, samples)
        divergence = KullbackLeibler(clean)(attacked, task.target(samples, inputs.device), 0, 1)
        return {**losses, 'loss_trades': self.beta * divergence}

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Forget the batch."""
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        self._adversarial = {}
