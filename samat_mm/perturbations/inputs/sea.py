"""SEA: an ensemble of APGD on complementary pixel-wise losses, from radii beyond the allowed one."""

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from samat_mm.perturbations.inputs.apgd import APGD
from samat_mm.perturbations.inputs.base import Attack, Predict
from samat_mm.perturbations.inputs.best import BestIterate
from samat_mm.perturbations.inputs.objectives import (
    BalancedMaskedCrossEntropy,
    JensenShannon,
    MaskedCrossEntropy,
    Objective,
)
from samat_mm.perturbations.inputs.oracle import Oracle
from samat_mm.perturbations.inputs.region import Region

STAGES = ((2.0, 3), (1.5, 3), (1.0, 4))  # radius in units of eps, share of the steps in tenths


class ShrinkingAPGD(APGD):
    """APGD in three stages, with radii of 2, 1.5 and 1 times ``eps`` and 3, 3 and 4 tenths of the steps.

    Each stage starts from the projection of what the one before found; only the last one's iterates count.

    Source: Croce et al., Towards Reliable Evaluation and Fast Training of Robust Semantic Segmentation Models,
    ECCV 2024, section 3.5.
    """

    def run(self, oracle: Oracle, region: Region, indices: Sequence[int], restart: int, best: BestIterate) -> None:
        """Make one run of three stages, and offer the best of the last one."""
        images = self.start(region.scaled(STAGES[0][0]), indices, restart)
        found = BestIterate(images)
        for factor, steps in stages(self.steps):
            stage, found = region.scaled(factor), BestIterate(images)
            self.climb(oracle, stage, stage.project(images), steps, found)
            images = found.images
        best.take(found)


class SEA(Attack):
    """The worst of three attacks per image: radius-shrinking APGD on each of three pixel-wise losses.

    The losses are balanced masked cross-entropy, masked cross-entropy and the Jensen-Shannon divergence; the iterate
    with the most wrong pixels wins. Scored over a data set this gives the worst case of the pixel accuracy, image by
    image (aAcc averaged over images, not over pixels, is the paper's number). The worst case of the mIoU needs the
    three results apart: :meth:`candidates`, and :func:`samat_mm.evaluation.worst_case_miou`.

    Source: Croce et al., Towards Reliable Evaluation and Fast Training of Robust Semantic Segmentation Models,
    ECCV 2024, section 3.6.

    Args:
        norm: 'linf' or 'l2'; the paper has linf alone.
        eps: radius in [0, 1] pixel units; a number or a string such as '8/255'.
        steps: number of gradient steps for each of the losses.
        random_start: start anywhere in the ball of ``2 eps`` rather than at the image.
        class_pixels: the pixels that each class has in the training set, in any unit, for the balanced loss; by
            default its weights come from the image that is attacked.
        seed: of the random starts, which are the same for each of the losses.

    Raises:
        ValueError: if a parameter is out of its range, or when it meets a model that is no segmentor.
    """

    def __init__(
        self,
        norm: str = 'linf',
        eps: float | str = '8/255',
        steps: int = 300,
        random_start: bool = True,
        class_pixels: Sequence[float] | None = None,
        seed: int = 0,
    ) -> None:
        balanced = BalancedMaskedCrossEntropy(None if class_pixels is None else tuple(class_pixels))
        self.members = [
            ShrinkingAPGD(norm, eps, steps, random_start, objective=objective, seed=seed)
            for objective in (balanced, MaskedCrossEntropy(), JensenShannon())
        ]
        self.objective: Objective = balanced
        self._class_pixels = balanced.class_pixels
        self.eps, self.steps, self.seed = self.members[0].eps, self.members[0].steps, seed

    def __call__(
        self,
        predict: Predict,
        inputs: Tensor,
        target: Tensor | None,
        *,
        indices: Sequence[int] | None = None,
        sizes: Sequence[tuple[int, int]] | None = None,
    ) -> Tensor:
        """Return adversarial images; see :meth:`Attack.__call__`."""
        worst = BestIterate(inputs.detach().clone())
        for found in self.candidates(predict, inputs, target, indices=indices, sizes=sizes):
            worst.take(found)
        return worst.images

    def candidates(
        self,
        predict: Predict,
        inputs: Tensor,
        target: Tensor | None,
        *,
        indices: Sequence[int] | None = None,
        sizes: Sequence[tuple[int, int]] | None = None,
    ) -> Iterator[BestIterate]:
        """Yield what each loss found, in the order of the class docstring, with its rank; see :meth:`__call__`."""
        for member in self.members:
            yield member.search(predict, inputs, target, indices=indices, sizes=sizes)

    def describe(self) -> dict[str, Any]:
        """Return the type and the parameters for reports, in plain types."""
        shared = self.members[0].describe()
        description = {key: shared[key] for key in ('norm', 'eps', 'steps', 'random_start', 'seed')}
        given = {} if self._class_pixels is None else {'class_pixels': list(self._class_pixels)}
        return {'type': type(self).__name__, **description, **given}


def stages(steps: int) -> list[tuple[float, int]]:
    """Return the radius, in units of eps, and the steps of each stage; one that would have no steps is left out."""
    counts = [steps * tenths // 10 for _, tenths in STAGES[:-1]]
    counts.append(steps - sum(counts))
    return [(factor, count) for (factor, _), count in zip(STAGES, counts, strict=True) if count]
