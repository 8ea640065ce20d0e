"""The way from an image to a hyperplane within the pixel box."""

from collections.abc import Callable

import torch
from torch import Tensor

DUAL_NORMS: dict[str, Callable[[Tensor], Tensor]] = {
    'linf': lambda grad: grad.flatten(1).abs().sum(1),
    'l2': lambda grad: grad.flatten(1).norm(dim=1),
}


def nearest_on_hyperplane(norm: str, images: Tensor, normal: Tensor, rise: Tensor) -> Tensor:
    """Return the shortest ``d`` with ``<normal, d> = rise`` and ``images + d`` in [0, 1].

    Each coordinate moves in the direction that helps, by ``min(t * speed, room)``, where the speed is 1 (linf) or
    ``|normal|`` (l2) and the room is what the box leaves. The rise is piecewise linear and increasing in ``t``, so
    sorting the coordinates by when they run out of room gives ``t`` exactly. Where the box leaves too little, every
    coordinate moves as far as it can.

    Source: Croce & Hein 2020, section 2.2 and appendix A.

    Args:
        norm: 'linf' or 'l2', in which ``d`` is shortest.
        images: pixels (N, ...).
        normal: shape of ``images``.
        rise: shape (N,).
    """
    towards = normal.flatten(1).sign() * rise.sign()[:, None]
    slope, pixels = normal.flatten(1).abs(), images.flatten(1)
    # The scale of the normal changes nothing; products of tiny gradients would vanish in single precision.
    scale = slope.amax(1, keepdim=True).clamp_min(torch.finfo(slope.dtype).tiny)
    slope, needed = slope / scale, rise.abs()[:, None] / scale
    moves = towards != 0
    room = torch.where(towards > 0, 1 - pixels, pixels) * moves
    speed = torch.where(moves, slope if norm == 'l2' else torch.ones_like(slope), 0)
    ends = torch.where(moves, room / speed, 0)
    order = ends.argsort(1)
    ends, spent, rate = (values.gather(1, order) for values in (ends, slope * room, slope * speed))
    before = spent.cumsum(1) - spent  # what the coordinates that stopped earlier have given
    remaining = rate.flip(1).cumsum(1).flip(1)  # what those still moving give per unit of t
    reached = before + remaining * ends  # the rise when this coordinate stops
    first = (reached < needed).sum(1, keepdim=True).clamp_max(ends.shape[1] - 1)
    time = (needed - before.gather(1, first)) / remaining.gather(1, first).clamp_min(torch.finfo(slope.dtype).tiny)
    enough = reached[:, -1:] >= needed
    moved = torch.where(enough, torch.minimum(time.clamp_min(0) * speed, room), room)
    return (towards * moved).reshape(images.shape)
