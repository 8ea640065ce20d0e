"""Dense attacks that are PGD with pixel-wise weights."""

from samat_mm.perturbations.inputs.pgd import PGD
from samat_mm.perturbations.units import parse_radius

# CosPGD's supplement: 0.01 at 8/255 for linf, 0.1 at 64/255 (and 0.2 at 128/255) for l2.
STEP_PER_RADIUS = {'linf': 0.01 / (8 / 255), 'l2': 0.1 / (64 / 255)}


class SegPGD(PGD):
    """PGD whose loss leans on the pixels that are still right, at first wholly and in the end as on all others.

    The weights are those of the objective 'segpgd'. Of all iterates, the one with the most wrong pixels is returned.

    Source: Gu et al., SegPGD: An Effective and Efficient Adversarial Attack for Evaluating and Boosting Segmentation
    Robustness, ECCV 2022; step sizes of Agnihotri et al., ICML 2024.

    Args:
        norm: 'linf' or 'l2'.
        eps: radius in [0, 1] pixel units; a number or a string such as '8/255'.
        step_size: in the same units; by default in the published proportion to ``eps``, 0.01 to 8/255 for linf and
            0.1 to 64/255 for l2.
        steps: number of gradient steps.
        random_start: start anywhere in the ball rather than at the image.
        restarts: number of random starts; the best result counts.
        seed: of the random starts.

    Raises:
        ValueError: if a parameter is out of its range, or when it meets a model that is no segmentor.
    """

    weighting = 'segpgd'

    def __init__(
        self,
        norm: str = 'linf',
        eps: float | str = '8/255',
        step_size: float | str | None = None,
        steps: int = 10,
        random_start: bool = True,
        restarts: int = 1,
        seed: int = 0,
    ) -> None:
        if step_size is None and norm in STEP_PER_RADIUS:
            step_size = STEP_PER_RADIUS[norm] * parse_radius(eps, 'eps')
        super().__init__(norm, eps, step_size, steps, random_start, restarts, self.weighting, seed=seed)


class CosPGD(SegPGD):
    """PGD whose loss weighs each pixel by the cosine between its softmax and its label.

    The weights are those of the objective 'cospgd'; all else is as in :class:`SegPGD`.

    Source: Agnihotri et al., CosPGD: An Efficient White-Box Adversarial Attack for Pixel-Wise Prediction Tasks,
    ICML 2024.

    Args:
        norm: 'linf' or 'l2'.
        eps: radius in [0, 1] pixel units; a number or a string such as '8/255'.
        step_size: in the same units; by default in the published proportion to ``eps``.
        steps: number of gradient steps.
        random_start: start anywhere in the ball rather than at the image.
        restarts: number of random starts; the best result counts.
        seed: of the random starts.

    Raises:
        ValueError: if a parameter is out of its range, or when it meets a model that is no segmentor.
    """

    weighting = 'cospgd'
