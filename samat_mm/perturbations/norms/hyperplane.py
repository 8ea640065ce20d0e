"""The way from an image to a hyperplane within the pixel box, where each coordinate moves at its own speed."""

from collections.abc import Callable

import torch
from torch import Tensor


def at_speed(speed_of: Callable[[Tensor], Tensor], images: Tensor, normal: Tensor, rise: Tensor) -> Tensor:
    """Return ``d`` with ``<normal, d> = rise`` and ``images + d`` in [0, 1]; see :meth:`Norm.to_hyperplane`.

    Each coordinate moves in the direction that helps, by ``min(t * speed, room)``, where the room ends at the
    box. The rise is piecewise linear, increasing and concave in ``t``, so Newton's method from 0 never passes the
    root and ends exactly there, after a few passes (sorting the coordinates, as the authors do, costs more).

    Args:
        speed_of: from the absolute values of the normal, scaled to at most 1, to the speed of each coordinate.
        images: pixels (N, ...).
        normal: shape of ``images``.
        rise: shape (N,).
    """
    towards, slope, room, needed = sides(images, normal, rise)
    speed = torch.where(towards != 0, speed_of(slope), 0)
    tiny, most = torch.finfo(slope.dtype).tiny, torch.finfo(slope.dtype).max
    # When no coordinate has room left; finite, for a speed of 0 times infinity is NaN.
    last = torch.where(towards != 0, room / speed, 0).amax(1, keepdim=True).clamp_max(most)
    spent, rates = slope * room, slope * speed
    time, nearer = torch.zeros_like(last), True
    while nearer:
        moving = time * speed < room
        given = torch.where(moving, 0, spent).sum(1, keepdim=True)  # by the coordinates that have stopped
        rate = torch.where(moving, rates, 0).sum(1, keepdim=True)
        new = torch.minimum((needed - given) / rate.clamp_min(tiny), last)
        nearer = bool((new > time).any())
        time = torch.maximum(time, new)
    return (towards * torch.minimum(time * speed, room)).reshape(images.shape)


def sides(images: Tensor, normal: Tensor, rise: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return, of shape (N, D): which way each coordinate helps, its slope, its room in [0, 1]; and the rise, (N, 1).

    Slope and rise are in units of the largest slope: products of tiny gradients would vanish in single precision.
    """
    towards = normal.flatten(1).sign() * rise.sign()[:, None]
    slope, pixels = normal.flatten(1).abs(), images.flatten(1)
    scale = slope.amax(1, keepdim=True).clamp_min(torch.finfo(slope.dtype).tiny)
    room = torch.where(towards > 0, 1 - pixels, pixels) * (towards != 0)
    return towards, slope / scale, room, rise.abs()[:, None] / scale
