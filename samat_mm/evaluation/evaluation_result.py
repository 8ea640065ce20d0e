"""The result of a test: everything that was found, as one value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from samat_mm.evaluation.attack_result import AttackResult
from samat_mm.evaluation.attack_run import CLEAN
from samat_mm.evaluation.verdict import Verdict
from samat_mm.perturbations.parametrized import SeededAttack
from samat_mm.pixels.pixel_range import Range


@dataclass(frozen=True)
class EvaluationResult:
    """The result of a test of a model, clean and under attacks.

    Attributes:
        metrics: the metrics of the clean images and of ``attacks``, whose names are prefixes: 'pgd-linf/mIoU'.
        attacks: the attacks that were asked for, by name, as they were run.
        by_attack: the results of the clean images, of the attacks, the members of ensembles, the exported files and
            the sanity checks, by name.
        samples: number of images.
        folder: where the scores of each image are kept.
        resumed: whether some of them had been kept before.
        pixel_range: values of the images that stand for the pixels 0 and 1; None where nothing was attacked.
        verdicts: the verdicts of the sanity checks.
        sections: further sections of the report.
    """

    metrics: dict[str, Any]
    attacks: Mapping[str, SeededAttack]
    by_attack: Mapping[str, AttackResult]
    samples: int
    folder: Path
    resumed: bool = False
    pixel_range: Range | None = None
    verdicts: tuple[Verdict, ...] = ()
    sections: Mapping[str, Any] = field(default_factory=dict)

    @property
    def clean(self) -> AttackResult:
        """The result of the clean images."""
        return self.by_attack[CLEAN]


def flat_metrics(by_attack: Mapping[str, AttackResult], attacks: Mapping[str, SeededAttack]) -> dict[str, Any]:
    """Return the metrics of the clean images and of these attacks in one dictionary, as MMEngine's loops do."""
    return {
        key if name == CLEAN else f'{name}/{key}': value
        for name, result in by_attack.items()
        if name == CLEAN or name in attacks
        for key, value in result.metrics.items()
    }
