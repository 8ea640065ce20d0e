"""The verdict of a check on an evaluation, and how the scores of its attacks are compared."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from samat_mm.evaluation.attack_result import AttackResult
from samat_mm.evaluation.image_score import ImageScore

ROUNDING = 1e-3  # of one image's score: after a resume it may have been in another batch, where sums differ
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

    def without_evidence(self, reason: str) -> 'Verdict':
        """Return a pass as no evidence; a failed or skipped check stays as it is."""
        if self.verdict in (FAIL, SKIPPED):
            return self
        return Verdict(self.check, NO_EVIDENCE, f'{self.detail}; {reason}')


def verdict_on(check: str, holds: bool, detail: str, unseen: str = '') -> Verdict:
    """Return the verdict on a property; ``unseen`` says why it could not have been seen broken, if so."""
    verdict = Verdict(check, PASS if holds else FAIL, detail)
    return verdict.without_evidence(unseen) if unseen else verdict


def has_labels(score: ImageScore) -> bool:
    """Tell whether an image has labels to be wrong about."""
    return not math.isnan(score.wrong) and score.counts != []


def same_scores(first: AttackResult, second: AttackResult) -> bool:
    """Tell whether two attacks left every image with the same score, up to rounding."""
    return all(itertools.starmap(_equal, zip(first.scores, second.scores, strict=True)))


def rises(values: Sequence[float], tolerance: float) -> bool:
    """Tell whether no value is below the one before it, and none is NaN."""
    rising = all(later >= earlier - tolerance for earlier, later in itertools.pairwise(values))
    return rising and not any(map(math.isnan, values))


def _equal(first: ImageScore, second: ImageScore) -> bool:
    pairs = (first.wrong, second.wrong), (first.loss, second.loss)
    return all(math.isclose(*pair, rel_tol=ROUNDING, abs_tol=ROUNDING) for pair in pairs)
