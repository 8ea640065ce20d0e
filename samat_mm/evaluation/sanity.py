"""Checks that tell robustness from an attack that does not work.

Carlini et al., On Evaluating Adversarial Robustness, 2019, list what has to hold: an attack of radius 0 does nothing, a
larger radius or more steps never help the model, a radius without bounds breaks it, and nothing that sees the model
from outside beats an attack that sees its gradients. Where one fails, gradients are masked or the attack is too weak.

What holds because there was nothing to see is no evidence, and is said to be none: a model that is wrong on every image
already, an attack that moves nothing.
"""

import copy
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from samat_mm.errors import InputError
from samat_mm.evaluation.image_score import ImageScore
from samat_mm.evaluation.outcome import Outcome
from samat_mm.evaluation.trials import CLEAN
from samat_mm.perturbations.inputs import FGSM, PGD, Attack, Square
from samat_mm.perturbations.inputs.random_noise import RandomNoise
from samat_mm.tasks.base import without_goal

RADII = (0.5, 1.0, 2.0, 4.0)  # in units of the attack's own
LARGE, GREY = 64.0, 0.5  # half the range of pixels lets every image be grey
QUERIES, DRAWS = 500, 10
WEIGHT_NOISE = 0.1  # of a surrogate, in units of the root mean square of each weight tensor
BROKEN, BROKEN_MAP = 0.95, 0.5  # share of what was right; pixels share their evidence, so not all go wrong at once
TOLERANCE = 0.01  # in shares of labels, and of the loss
ROUNDING = 1e-3  # of one image's score: after a resume it may have been in another batch, where sums differ
PREFIX = 'sanity/'  # of the names of the attacks, which stand among those that a user asked for
ZERO, BIG, SQUARE, TRANSFER, NOISE = (
    f'{PREFIX}{name}' for name in ('eps=0', 'large eps', 'square', 'transfer', 'noise')
)


PASS, FAIL, NO_EVIDENCE, SKIPPED = 'pass', 'FAIL', 'no evidence', 'skipped'


@dataclass(frozen=True)
class Verdict:
    """The result of one check, and a sentence with the numbers.

    'pass' if a property holds that could have been seen broken, 'FAIL' if it does not hold, 'no evidence' if it holds
    where it could not have been seen broken, and 'skipped' if it was not tried.
    """

    check: str
    verdict: str
    detail: str


class SanityChecks:
    """What has to be run besides the clean images, and what follows from it.

    Args:
        attack: the white-box attack that is checked: PGD or one of its kin.
        classifier: whether the model is a classifier, which Square can attack.

    Raises:
        ValueError: if the attack has no radius to vary.
    """

    def __init__(self, attack: Attack, classifier: bool) -> None:
        if not isinstance(attack, PGD) or isinstance(attack, FGSM) or attack.eps == 0:
            raise InputError(
                f'the sanity checks vary the radius and the steps of PGD, SegPGD or CosPGD; got {attack!r}. '
                'Name one of them first, pgd-linf for instance.'
            )
        self.attack: PGD = without_goal(attack)
        self.classifier = classifier
        self.broken = BROKEN if classifier else BROKEN_MAP
        self.steps = sorted({1, max(2, attack.steps // 2), attack.steps, 2 * attack.steps})

    @property
    def large(self) -> float:
        """The radius that has to break any model, in [0, 1] pixel units."""
        return max(self.attack.eps, min(LARGE * self.attack.eps, self._largest))

    @property
    def _largest(self) -> float:
        return GREY * self.attack.ball.largest_radius(None)

    def attacks(self) -> dict[str, Attack]:
        """Return the attacks to run, by name; :data:`TRANSFER` is to be made on :func:`surrogate`."""
        attack, norm, eps = self.attack, self.attack.norm, self.attack.eps
        found: dict[str, Attack] = {ZERO: attack.at(0.0)}
        found |= {_radius(factor): attack.at(factor * eps) for factor in RADII if self._fits(factor)}
        found |= {_steps(steps): attack.replace(steps=steps) for steps in self.steps if steps != self.attack.steps}
        found[BIG] = attack.at(self.large).replace(steps=2 * attack.steps)
        found[NOISE] = RandomNoise(norm, eps, DRAWS, self.attack.seed)
        found[TRANSFER] = attack
        if self.classifier:
            found[SQUARE] = Square(norm, eps, QUERIES, seed=self.attack.seed)
        return found

    def verdicts(self, outcomes: Mapping[str, Outcome]) -> list[Verdict]:
        """Return what the outcomes of :meth:`attacks` and of the clean images show.

        Only images with labels count. A property that does not hold is seen on any model; one that holds says something
        only where labels were right on the clean images, because nothing else is left to break.
        """
        known = [number for number, score in enumerate(outcomes[CLEAN].scores) if _has_labels(score)]
        found = {name: Outcome({}, [outcome.scores[number] for number in known]) for name, outcome in outcomes.items()}
        checks = [self._zero(found), self._radii(found), self._large(found), self._more_steps(found)]
        checks += [self._black_box(name, found) for name in (NOISE, TRANSFER, SQUARE)]
        if not known:
            said = 'no image has a label of a class to be wrong about'
            return [entry if entry.verdict == SKIPPED else Verdict(entry.check, NO_EVIDENCE, said) for entry in checks]
        if found[CLEAN].wrong >= 1 - TOLERANCE:
            said = f'{found[CLEAN].wrong:.3f} of the labels are wrong on clean images, so that nothing is left to break'
            return [_without_evidence(check, said) for check in checks]
        return checks

    def _zero(self, found: Mapping[str, Outcome]) -> Verdict:
        clean, zero, white = found[CLEAN], found[ZERO], found[_radius(1.0)]
        return _verdict(
            'eps = 0 equals clean',
            _same(zero, clean),
            f'share of wrong labels {zero.wrong:.4f}, clean {clean.wrong:.4f}',
            'the full eps changes nothing either' if _same(white, clean) else '',
        )

    def _radii(self, found: Mapping[str, Outcome]) -> Verdict:
        by_radius = {factor: found[_radius(factor)].wrong for factor in RADII if _radius(factor) in found}
        shares = {0.0: found[ZERO].wrong, **by_radius}
        return _verdict(
            'more is wrong at a larger eps',
            _rises(list(shares.values()), TOLERANCE),
            'share of wrong labels ' + ', '.join(f'{wrong:.3f} at {factor:g} eps' for factor, wrong in shares.items()),
            '' if max(shares.values()) > shares[0.0] + TOLERANCE else 'nothing breaks at any of them',
        )

    def _large(self, found: Mapping[str, Outcome]) -> Verdict:
        clean, wrong = found[CLEAN].wrong, found[BIG].wrong
        return _verdict(
            'a large eps breaks the model',
            self._breaks(BIG, found),
            f'share of wrong labels {wrong:.3f} at {255 * self.large:g}/255, clean {clean:.3f}; '
            f'wanted {self.broken:g} of what was right',
        )

    def _breaks(self, name: str, found: Mapping[str, Outcome]) -> bool:
        """Tell whether an attack breaks what was right; it does where next to nothing was."""
        clean, wrong = found[CLEAN].wrong, found[name].wrong
        return clean >= 1 - TOLERANCE or (wrong - clean) / (1 - clean) >= self.broken

    def _more_steps(self, found: Mapping[str, Outcome]) -> Verdict:
        white = found[_radius(1.0)]
        tried = {steps: white if steps == self.attack.steps else found[_steps(steps)] for steps in self.steps}
        by_steps = {steps: self._measure(outcome) for steps, outcome in tried.items()}
        fewest, most = tried[self.steps[0]], tried[self.steps[-1]]
        tolerance = TOLERANCE * max(map(abs, by_steps.values()), default=0.0)
        stronger = self._measure(most) > self._measure(fewest) + tolerance
        broken = self._breaks(_radius(1.0), found)
        still = all(one.loss == other.loss for one, other in zip(fewest.scores, most.scores, strict=True))
        measure = 'cross-entropy' if self.attack.objective.name == 'cross-entropy' else 'share of wrong labels'
        return _verdict(
            'more steps drive the loss up',
            _rises(list(by_steps.values()), tolerance) and (broken or not still),  # no gradient, no other image
            f'{measure} ' + ', '.join(f'{value:.3f} after {steps}' for steps, value in by_steps.items()),
            '' if stronger else 'it hardly rises',
        )

    def _black_box(self, name: str, found: Mapping[str, Outcome]) -> Verdict:
        check = {
            NOISE: f'the worst of {DRAWS} random perturbations is no stronger',
            TRANSFER: 'an attack made on a model with noise on its weights is no stronger',
            SQUARE: f'Square with {QUERIES} queries is no stronger',
        }[name]
        if name not in found:
            return Verdict(check, SKIPPED, 'Square attacks classifiers only')
        other, white = found[name], found[_radius(1.0)]
        pairs = zip(other.scores, white.scores, strict=True)
        only = sum(theirs.wrong > ours.wrong + TOLERANCE for theirs, ours in pairs)
        return _verdict(
            check,
            other.wrong <= white.wrong + TOLERANCE,
            f'share of wrong labels {other.wrong:.3f}, white-box {white.wrong:.3f}; stronger on {only} of '
            f'{len(white.scores)} images',
            '' if white.wrong > found[CLEAN].wrong + TOLERANCE else 'the white-box attack breaks nothing itself',
        )

    def _measure(self, outcome: Outcome) -> float:
        return outcome.loss if self.attack.objective.name == 'cross-entropy' else outcome.wrong

    def _fits(self, factor: float) -> bool:
        return factor <= 1 or factor * self.attack.eps <= self._largest


def surrogate(model: nn.Module, seed: int = 0) -> nn.Module:
    """Return a copy of a model with noise on its weights, a tenth of their root mean square: near, but not the same."""
    other, numbers = copy.deepcopy(model), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in other.parameters():
            if weight.ndim > 1:
                noise = torch.randn(weight.shape, generator=numbers).to(weight)
                weight.add_(WEIGHT_NOISE * weight.square().mean().sqrt() * noise)
    return other


def _radius(factor: float) -> str:
    return f'{PREFIX}{factor:g} eps'


def _steps(steps: int) -> str:
    return f'{PREFIX}{steps} steps'


def _has_labels(score: ImageScore) -> bool:
    return not math.isnan(score.wrong) and score.counts != []


def _same(first: Outcome, second: Outcome) -> bool:
    return all(itertools.starmap(_equal, zip(first.scores, second.scores, strict=True)))


def _equal(first: ImageScore, second: ImageScore) -> bool:
    pairs = (first.wrong, second.wrong), (first.loss, second.loss)
    return all(math.isclose(*pair, rel_tol=ROUNDING, abs_tol=ROUNDING) for pair in pairs)


def _rises(values: list[float], tolerance: float) -> bool:
    rising = all(later >= earlier - tolerance for earlier, later in itertools.pairwise(values))
    return rising and not any(map(math.isnan, values))


def _verdict(check: str, holds: bool, detail: str, nothing_seen: str = '') -> Verdict:
    """Return the verdict on a property; ``nothing_seen`` says why it could not have been seen broken, if so."""
    verdict = Verdict(check, PASS if holds else FAIL, detail)
    return _without_evidence(verdict, nothing_seen) if nothing_seen else verdict


def _without_evidence(verdict: Verdict, reason: str) -> Verdict:
    """Return a pass as no evidence; what failed or was skipped stays."""
    if verdict.verdict in (FAIL, SKIPPED):
        return verdict
    return Verdict(verdict.check, NO_EVIDENCE, f'{verdict.detail}; {reason}')
