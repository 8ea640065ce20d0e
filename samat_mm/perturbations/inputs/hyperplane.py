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
    ``|normal|`` (l2) and the room is what the box leaves. The rise is piecewise linear, increasing and concave in
    ``t``, so Newton's method from 0 never passes the root and ends exactly there, after a few passes (sorting the
    coordinates, as the authors do, costs more). Where the box leaves too little, every coordinate moves as far as it
    can.

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
    tiny, most = torch.finfo(slope.dtype).tiny, torch.finfo(slope.dtype).max
    # When no coordinate has room left; finite, for a speed of 0 times infinity is NaN.
    last = torch.where(moves, room / speed, 0).amax(1, keepdim=True).clamp_max(most)
    spent, rates = slope * room, slope * speed
    time, nearer = torch.zeros_like(last), True
    while nearer:
        moving = time * speed < room
        given = torch.where(moving, 0, spent).sum(1, keepdim=True)  # by the coordinates that have stopped
        rate = torch.where(moving, rates, 0).sum(1, keepdim=True)
        new = torch.minimum((needed - given) / rate.clamp_min(tiny), last)
        nearer = bool((new > time).any())
        time = torch.maximum(time, new)
    moved = torch.minimum(time * speed, room)
    return (towards * moved).reshape(images.shape)
