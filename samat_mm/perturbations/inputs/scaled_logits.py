"""Attacks on logits times a constant, whose loss is not saturated however confident the model is."""

from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from samat_mm.errors import InputError
from samat_mm.perturbations.checks import non_negative
from samat_mm.perturbations.inputs.base import Attack
from samat_mm.perturbations.inputs.best import BestIterate
from samat_mm.perturbations.inputs.confidence import scale_for
from samat_mm.perturbations.inputs.finite import check_finite
from samat_mm.perturbations.inputs.objectives import IGNORED_LABEL, has_class_255
from samat_mm.perturbations.inputs.pgd import PGD
from samat_mm.perturbations.inputs.problem import Predict, Problem, one_row_each, restricted
from samat_mm.perturbations.norms.region import check_pixels
from samat_mm.perturbations.randomness import isolated_randomness
from samat_mm.perturbations.rows import per_sample

OWN = ('attack', 'scale', 'confidence')


@dataclass(frozen=True, repr=False)
class ScaledLogits(Attack):
    """Another attack, on logits times a positive constant.

    The constant changes no decision, but the loss. Where a model is so confident that its cross-entropy is 0 in single
    precision, so is the gradient, and an attack fails without the model being robust. With ``confidence``, each image
    has its own constant, in [1e-3, 1e3]: that with which the mean of the largest softmax probability over the labels of
    the unchanged image (for a segmentor, its pixels that are not ignored) has this value, or the nearest in that range.
    It is found by bisection and takes one more forward pass. Norm, radius, seed and all other parameters are those of
    the attack.

    Source: Carlini & Wagner, Defensive Distillation is Not Robust to Adversarial Examples, 2016, who divide the logits
    of a model by a temperature before they attack it; one constant for each image is ours.

    Args:
        attack: the attack, as a config; its objective has to be a function of logits. PGD by default.
        scale: the constant, above 0; give either this or ``confidence``.
        confidence: the largest probability that each unchanged image is to have, below 1 and above 1 / classes.
    """

    attack: Any = None
    scale: float | None = None
    confidence: float | None = None

    def __post_init__(self) -> None:
        attack = PGD() if self.attack is None else self.attack
        if not isinstance(attack, Attack):
            raise InputError(f"ScaledLogits needs the attack that it runs, as attack=dict(type='PGD'); got {attack!r}.")
        if attack.objective.output != 'logits':
            raise InputError(
                f'ScaledLogits needs an objective that is a function of logits, such as cross-entropy; got '
                f'{attack.objective.name!r} in {attack!r}.'
            )
        if (self.scale is None) == (self.confidence is None):
            given = 'neither' if self.scale is None else 'both'
            raise InputError(f'ScaledLogits needs either a scale or a confidence; got {given}.')
        if self.scale is not None and non_negative(self.scale, 'scale') == 0:
            raise InputError('scale must be greater than 0; got 0, with which no prediction is left.')
        if self.confidence is not None and not 0 < non_negative(self.confidence, 'confidence') < 1:
            raise InputError(f'confidence is a probability, above 0 and below 1; got {self.confidence!r}.')
        self._settle(attack=attack, norm=attack.norm, eps=attack.eps, seed=attack.seed, objective=attack.objective)
        self._settle(goal=getattr(attack, 'goal', 'loss'), seeks_nearest=attack.seeks_nearest)

    def search(self, problem: Problem) -> BestIterate:
        """Return what the attack finds on the scaled logits, with the ranks it has there.

        Raises:
            ValueError: if the attack refuses the problem, or ``confidence`` is at most 1 / classes.
            FloatingPointError: if a logit is not finite.
        """
        if self.eps == 0 or not len(problem.images):
            return self.attack.search(problem)
        if problem.box is not None:
            check_pixels(problem.images, problem.box)
        if self.scale is not None:
            dtype = torch.promote_types(problem.images.dtype, torch.float32)
            factors = problem.images.new_full((len(problem.images),), self.scale, dtype=dtype)
        else:
            factors = self._calibrated(problem)
        return self.attack.search(replace(problem, predict=ScaledPredict(problem.predict, factors)))

    def _calibrated(self, problem: Problem) -> Tensor:
        """Return the constant of each image, shape (N,)."""
        images, target, confidence = problem.images, problem.target, float(self.confidence or 0)
        with isolated_randomness(images.device), torch.no_grad():
            logits = one_row_each(problem.output(images), images)
        check_finite(logits)
        self.objective.check(logits, target)
        if confidence * logits.shape[1] <= 1:
            raise InputError(
                f'confidence must exceed 1 / classes, the largest probability of a model that knows nothing; got '
                f'{confidence:g} for {logits.shape[1]} classes.'
            )
        counted = None
        if target is not None and target.ndim == logits.ndim - 1 > 1 and not has_class_255(logits):
            counted = target != IGNORED_LABEL
        return scale_for(logits, confidence, counted)

    def replace(self, **changes: Any) -> Self:
        """Return the attack with other parameters, its own or those of the attack that it runs."""
        own = {name: changes.pop(name) for name in OWN if name in changes}
        attack = own.pop('attack', self.attack)
        return replace(self, attack=attack.replace(**changes) if changes else attack, **own)

    def at(self, radius: float) -> Self:
        """Return the attack at another radius."""
        return self.replace(attack=self.attack.at(radius))

    @property
    def parameters(self) -> set[str]:
        """The names that :meth:`replace` takes, those of the attack that it runs among them."""
        return super().parameters | self.attack.parameters

    @property
    def stops_at_errors(self) -> bool:
        """Whether an image of a classifier is done once the model errs on it."""
        return self.attack.stops_at_errors

    @property
    def members(self) -> tuple[Attack, ...]:
        """The attacks that an ensemble consists of, each on the scaled logits; none for any other attack."""
        return tuple(self.replace(attack=member) for member in getattr(self.attack, 'members', ()))

    def describe(self) -> dict[str, Any]:
        """Return the parameters for reports, those of the attack in a dictionary of their own; norm and radius too."""
        own = {'norm': self.norm, 'eps': self.eps, 'scale': self.scale, 'confidence': self.confidence}
        known = {name: value for name, value in own.items() if value is not None}
        return {'type': type(self).__name__, 'attack': self.attack.describe(), **known}


@dataclass(frozen=True, eq=False)
class ScaledPredict:
    """A ``predict`` whose logits are multiplied by a constant of each image.

    Args:
        predict: maps pixels to logits (N, K, ...).
        factors: shape (N,).
    """

    predict: Predict
    factors: Tensor

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return the scaled logits."""
        logits = one_row_each(self.predict(pixels), self.factors)
        return logits * per_sample(self.factors, logits)

    def at(self, step: int, steps: int) -> Predict:
        """Return the predict of a step: this one, unless the unscaled one depends on the step."""
        at: Any = getattr(self.predict, 'at', None)
        predict = self.predict if at is None else at(step, steps)
        return self if predict is self.predict else ScaledPredict(predict, self.factors)

    def subset(self, rows: Tensor) -> 'ScaledPredict':
        """Return the same for some images of the batch (indices, shape (n,))."""
        return ScaledPredict(restricted(self.predict, rows), self.factors[rows])
