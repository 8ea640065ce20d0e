"""The verdicts of the sanity checks, from the results of their attacks.

A property that holds only because there was nothing to see, on a model that is wrong on every image already or under an
attack that moves nothing, is reported as no evidence.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from samat_mm.evaluation.attack_result import AttackResult
from samat_mm.evaluation.attack_run import CLEAN
from samat_mm.evaluation.sanity import (
    BIG,
    NOISE,
    RADII,
    SQUARE,
    TRANSFER,
    ZERO,
    SanityChecks,
    after_steps,
    at_radius,
)
from samat_mm.evaluation.verdict import NO_EVIDENCE, SKIPPED, Verdict, has_labels, rises, same_scores, verdict_on
from samat_mm.tasks import Classification, Task

BROKEN, BROKEN_MAP = 0.95, 0.5  # share of the labels that were right; pixels share their evidence, so fewer go wrong
TOLERANCE = 0.01  # in shares of labels, and of the loss


def verdicts_of(checks: SanityChecks, results: Mapping[str, AttackResult], task: Task) -> list[Verdict]:
    """Return the verdicts that follow from the results of the checks' attacks and of the clean images.

    Only images with labels count. A property that does not hold is seen on any model; one that holds says something
    only where labels were right on the clean images, because nothing else is left to break.

    Args:
        checks: the checks.
        results: the results by name of the attack, 'clean' among them.
        task: the task of the model; label maps need not break as far as classes.
    """
    known = [number for number, score in enumerate(results[CLEAN].scores) if has_labels(score)]
    found = {name: AttackResult({}, [result.scores[number] for number in known]) for name, result in results.items()}
    judge = _Judge(checks, found, BROKEN if isinstance(task, Classification) else BROKEN_MAP)
    verdicts = [judge.zero(), judge.radii(), judge.large(), judge.more_steps()]
    verdicts += [judge.black_box(name) for name in (NOISE, TRANSFER, SQUARE)]
    if not known:
        said = 'no image has a label of a class to be wrong about'
        return [entry if entry.verdict == SKIPPED else Verdict(entry.check, NO_EVIDENCE, said) for entry in verdicts]
    if found[CLEAN].wrong >= 1 - TOLERANCE:
        said = f'{found[CLEAN].wrong:.3f} of the labels are wrong on clean images, so that nothing is left to break'
        return [verdict.without_evidence(said) for verdict in verdicts]
    return verdicts


@dataclass(frozen=True)
class _Judge:
    """One verdict after the other on the results of labelled images."""

    checks: SanityChecks
    found: Mapping[str, AttackResult]
    broken: float

    def zero(self) -> Verdict:
        """An attack of radius 0 does nothing."""
        clean, zero, white = self.found[CLEAN], self.found[ZERO], self.found[at_radius(1.0)]
        return verdict_on(
            'eps = 0 equals clean',
            same_scores(zero, clean),
            f'share of wrong labels {zero.wrong:.4f}, clean {clean.wrong:.4f}',
            'the full eps changes nothing either' if same_scores(white, clean) else '',
        )

    def radii(self) -> Verdict:
        """A larger radius never helps the model."""
        by_radius = {factor: self.found[at_radius(factor)].wrong for factor in RADII if at_radius(factor) in self.found}
        shares = {0.0: self.found[ZERO].wrong, **by_radius}
        return verdict_on(
            'more is wrong at a larger eps',
            rises(list(shares.values()), TOLERANCE),
            'share of wrong labels ' + ', '.join(f'{wrong:.3f} at {factor:g} eps' for factor, wrong in shares.items()),
            '' if max(shares.values()) > shares[0.0] + TOLERANCE else 'nothing breaks at any of them',
        )

    def large(self) -> Verdict:
        """A large radius breaks the model."""
        clean, wrong = self.found[CLEAN].wrong, self.found[BIG].wrong
        return verdict_on(
            'a large eps breaks the model',
            self._breaks(BIG),
            f'share of wrong labels {wrong:.3f} at {255 * self.checks.large:g}/255, clean {clean:.3f}; '
            f'wanted {self.broken:g} of what was right',
        )

    def _breaks(self, name: str) -> bool:
        """Tell whether an attack breaks what was right; it does where next to nothing was."""
        clean, wrong = self.found[CLEAN].wrong, self.found[name].wrong
        return clean >= 1 - TOLERANCE or (wrong - clean) / (1 - clean) >= self.broken

    def more_steps(self) -> Verdict:
        """More steps never help the model."""
        white = self.found[at_radius(1.0)]
        tried = {
            steps: white if steps == self.checks.attack.steps else self.found[after_steps(steps)]
            for steps in self.checks.steps
        }
        by_steps = {steps: self._measure(result) for steps, result in tried.items()}
        fewest, most = tried[self.checks.steps[0]], tried[self.checks.steps[-1]]
        tolerance = TOLERANCE * max(map(abs, by_steps.values()), default=0.0)
        stronger = self._measure(most) > self._measure(fewest) + tolerance
        broken = self._breaks(at_radius(1.0))
        still = all(one.loss == other.loss for one, other in zip(fewest.scores, most.scores, strict=True))
        measure = 'cross-entropy' if self.checks.attack.objective.name == 'cross-entropy' else 'share of wrong labels'
        return verdict_on(
            'more steps drive the loss up',
            rises(list(by_steps.values()), tolerance) and (broken or not still),  # no gradient, no other image
            f'{measure} ' + ', '.join(f'{value:.3f} after {steps}' for steps, value in by_steps.items()),
            '' if stronger else 'it hardly rises',
        )

    def black_box(self, name: str) -> Verdict:
        """An attack that does not see the gradients of the model is no stronger."""
        check = {
            NOISE: f'the worst of {self.checks.draws} random perturbations is no stronger',
            TRANSFER: 'an attack made on a model with noise on its weights is no stronger',
            SQUARE: f'Square with {self.checks.queries} queries is no stronger',
        }[name]
        if name not in self.found:
            return Verdict(check, SKIPPED, 'Square attacks classifiers only')
        other, white = self.found[name], self.found[at_radius(1.0)]
        pairs = zip(other.scores, white.scores, strict=True)
        only = sum(theirs.wrong > ours.wrong + TOLERANCE for theirs, ours in pairs)
        return verdict_on(
            check,
            other.wrong <= white.wrong + TOLERANCE,
            f'share of wrong labels {other.wrong:.3f}, white-box {white.wrong:.3f}; stronger on {only} of '
            f'{len(white.scores)} images',
            '' if white.wrong > self.found[CLEAN].wrong + TOLERANCE else 'the white-box attack breaks nothing itself',
        )

    def _measure(self, result: AttackResult) -> float:
        return result.loss if self.checks.attack.objective.name == 'cross-entropy' else result.wrong
