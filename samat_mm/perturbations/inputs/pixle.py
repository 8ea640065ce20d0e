"""Pixle: a patch of the image scattered over the image, without gradients."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from samat_mm.errors import InputError
from samat_mm.perturbations.checks import whole_number
from samat_mm.perturbations.inputs.classification import OptionallyBoundedAttack
from samat_mm.perturbations.inputs.problem import Problem, Remaining
from samat_mm.perturbations.randomness import RandomStreams, generator_for
from samat_mm.perturbations.units import Radius

Extent = int | float


@dataclass(frozen=True, repr=False)
class Pixle(OptionallyBoundedAttack):
    """Random search over rearranged pixels.

    Each iteration copies a random patch of the image to distinct random places, one per pixel, and asks the model;
    after each restart the candidate with the lowest probability of the label becomes the image that the next restart
    changes. An image is done at once when the model errs on it. The attack changes few pixels by any amount: as
    published, no norm bounds it. With ``norm`` and ``eps`` every candidate is projected onto that ball before the model
    sees it.

    Source: Pomponi et al., Pixle: a fast and effective black-box attack based on rearranging pixels, IJCNN 2022
    (random mapping). Unlike torchattacks' version it asks once per candidate and about the whole batch at once, does
    not swap height and width where images are not square, reaches the last row and column, and a restart without a
    better candidate changes nothing.

    Args:
        restarts: number of times that the image is changed.
        iterations: candidates per restart.
        widths: smallest and largest width of the patch, or its only width; integers are pixels, floats are shares of
            the image.
        heights: the same for its height.
        norm: 'linf' (the default), 'l2' or 'l1', in which ``eps`` bounds the difference of pixels.
        eps: radius in [0, 1] pixel units; None for no bound.
        seed: seed of the patches.
    """

    restarts: int = 20
    iterations: int = 10
    widths: Any = (2, 10)
    heights: Any = (2, 10)
    norm: str | None = None
    eps: Radius = None
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        whole_number(self.restarts, 'restarts')
        whole_number(self.iterations, 'iterations')
        self._settle(widths=_extents(self.widths, 'widths'), heights=_extents(self.heights, 'heights'))

    def find(self, problem: Problem) -> Tensor:
        """Return the images with the lowest probability of the label."""
        streams = RandomStreams([generator_for(self.seed, number) for number in problem.numbers], problem.images)
        result, left = problem.images.clone(), Remaining(problem)
        lowest = _log_probability(problem.logits(result), problem.target)
        for _ in range(self.restarts):
            base = result.clone()
            for _ in range(self.iterations):
                if not len(left):
                    return result
                images, labels, rows = left.problem.images, left.problem.target, left.rows
                moves = self._moves(images, streams.take(rows, 4 + images[0, 0].numel()))
                candidates = self.within(_moved(images, base[rows], moves), images)
                logits = left.problem.logits(candidates)
                probability, wrong = _log_probability(logits, labels), logits.argmax(1) != labels
                better = wrong | (probability < lowest[rows])
                result[rows[better]], lowest[rows[better]] = candidates[better], probability[better]
                left.drop(wrong)
        return result

    def _moves(self, images: Tensor, draws: Tensor) -> Tensor:
        """Return for each place the pixel of the original that comes there, -1 for none, shape (N, H * W).

        Args:
            images: shape (N, C, H, W).
            draws: shape (N, 4 + H * W), in [0, 1): the patch, and the order in which the places are taken.
        """
        height, width = images.shape[2:]
        rows, top = _interval(self.heights, height, draws[:, 0], draws[:, 1])
        columns, left = _interval(self.widths, width, draws[:, 2], draws[:, 3])
        number = torch.arange(int((rows * columns).max()), device=draws.device)
        places = draws[:, 4:].topk(len(number), dim=1).indices
        across = columns[:, None]
        pixel = (top[:, None] + number // across) * width + left[:, None] + number % across
        moves = torch.full((len(images), height * width), -1, device=draws.device)
        return moves.scatter_(1, places, torch.where(number < (rows * columns)[:, None], pixel, -1))

    def describe(self) -> dict[str, Any]:
        """Return the parameters for reports, in plain types."""
        extents = {name: '-'.join(map(str, getattr(self, name))) for name in ('widths', 'heights')}
        return super().describe() | extents


def _extents(values: Extent | str | Sequence[Extent], name: str) -> tuple[Extent, Extent]:
    """Return the smallest and the largest extent; also reads the string that ``describe`` writes."""
    if isinstance(values, str):
        values = [float(part) if '.' in part else int(part) for part in values.split('-') if part[:1].isdigit()]
    pair = (values, values) if isinstance(values, (int, float)) else tuple(values)
    valid = len(pair) == 2 and all(
        (isinstance(value, int) and not isinstance(value, bool) and value >= 1)
        or (isinstance(value, float) and 0 <= value <= 1)
        for value in pair
    )
    if not valid or (type(pair[0]) is type(pair[1]) and pair[0] > pair[1]):
        raise InputError(
            f'{name} must be a smallest and a largest extent, integers of at least 1 (pixels) or floats in [0, 1] '
            f'(shares of the image); got {values!r}.'
        )
    return pair[0], pair[1]


def _interval(
    extents: tuple[Extent, Extent], available: int, length_draw: Tensor, place_draw: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the length and the first coordinate of a random interval, for each of the draws in [0, 1)."""
    low, high = (
        min(max(value if isinstance(value, int) else round(value * available), 1), available) for value in extents
    )
    length = _whole(length_draw, max(low, high) - low + 1) + low
    return length, _whole(place_draw, available - length + 1)


def _whole(draws: Tensor, count: Tensor | int) -> Tensor:
    """Return whole numbers from 0 to ``count - 1``, equally probable; a draw may have been rounded up to 1."""
    return (draws * count).long().clamp_max(count - 1)


def _moved(originals: Tensor, base: Tensor, moves: Tensor) -> Tensor:
    """Return ``base`` with the pixels of ``originals`` that ``moves`` names, shape (N, H * W)."""
    source = moves.clamp_min(0)[:, None].expand(-1, originals.shape[1], -1)
    pixels = originals.flatten(2).gather(2, source)
    return torch.where(moves[:, None] >= 0, pixels, base.flatten(2)).reshape(base.shape)


def _log_probability(logits: Tensor, labels: Tensor) -> Tensor:
    """Return it in double precision: in single, a confident model's probability is 1 for every candidate."""
    return -F.cross_entropy(logits.double(), labels, reduction='none')
