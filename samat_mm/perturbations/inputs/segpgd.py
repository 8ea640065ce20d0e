"""Dense attacks that are PGD with pixel-wise weights."""

from dataclasses import dataclass, field
from typing import Any

from samat_mm.perturbations.inputs.pgd import PGD


@dataclass(frozen=True, repr=False)
class SegPGD(PGD):
    """PGD whose loss weighs, at first, only the pixels that are still right, and in the end all pixels equally.

    The weights are those of the objective 'segpgd'. Of all iterates, the one with the most wrong pixels is returned.

    Source: Gu et al., SegPGD: An Effective and Efficient Adversarial Attack for Evaluating and Boosting Segmentation
    Robustness, ECCV 2022; step sizes of Agnihotri et al., ICML 2024.

    Args:
        norm: 'linf', 'l2' or 'l1'.
        eps: radius in [0, 1] pixel units; a number or a string such as '8/255'.
        step_size: in the same units; by default in the published proportion to ``eps``, 0.01 to 8/255 for linf and
            0.1 to 64/255 for l2; a quarter of ``eps`` for l1, for which none is published.
        steps: number of gradient steps.
        random_start: start anywhere in the ball rather than at the image.
        restarts: number of random starts; the best result counts.
        seed: seed of the random starts.

    Raises:
        ValueError: if a parameter is out of its range, or if the model is not a segmentor.
    """

    objective: Any = field(init=False, default='segpgd')
    goal: str = field(init=False, default='loss')

    def usual_step(self) -> float:
        """Return the published step size."""
        return self.ball.dense_step * self.eps


@dataclass(frozen=True, repr=False)
class CosPGD(SegPGD):
    """PGD whose loss weighs each pixel by the cosine between its softmax and its label.

    The weights are those of the objective 'cospgd'; everything else is as in :class:`SegPGD`.

    Source: Agnihotri et al., CosPGD: An Efficient White-Box Adversarial Attack for Pixel-Wise Prediction Tasks,
    ICML 2024.

    Args:
        norm: 'linf', 'l2' or 'l1'.
        eps: radius in [0, 1] pixel units; a number or a string such as '8/255'.
        step_size: in the same units; by default in the published proportion to ``eps``.
        steps: number of gradient steps.
        random_start: start anywhere in the ball rather than at the image.
        restarts: number of random starts; the best result counts.
        seed: seed of the random starts.

    Raises:
        ValueError: if a parameter is out of its range, or if the model is not a segmentor.
    """

    objective: Any = field(init=False, default='cospgd')
