"""Flow fields: where each pixel of an image is taken from."""

import torch
from torch import Tensor
from torch.nn import functional as F


def warp(images: Tensor, flow: Tensor) -> Tensor:
    """Return images whose pixel p comes from p + flow(p), interpolated between the four pixels around that point.

    Beyond the border the border's pixels continue: no flow brings in a colour that the image does not have.

    Args:
        images: pixels (N, C, H, W).
        flow: shape (N, H, W, 2), x first, in units in which the centres of the outermost pixels are at -1 and 1.
    """
    count, _, height, width = images.shape
    x, y = (torch.linspace(-1, 1, size).to(images) if size > 1 else images.new_zeros(1) for size in (width, height))
    grid = torch.stack(torch.meshgrid(x, y, indexing='xy'), dim=-1).expand(count, -1, -1, -1)
    warped = F.grid_sample(images, grid + flow, mode='bilinear', padding_mode='border', align_corners=True)
    return warped.clamp(0, 1)


def roughness(flow: Tensor) -> Tensor:
    """Return how far the flows of neighbouring pixels differ, summed over all pixels and their neighbours, shape (N,).

    Source: equation 4 of Xiao et al. 2018.

    Args:
        flow: shape (N, H, W, 2), in pixels.
    """
    tiny = 1e-8  # the root has no gradient at 0, where every search starts
    across = (flow[:, :, 1:] - flow[:, :, :-1]).square().sum(-1)
    down = (flow[:, 1:] - flow[:, :-1]).square().sum(-1)
    return 2 * ((across + tiny).sqrt().flatten(1).sum(1) + (down + tiny).sqrt().flatten(1).sum(1))
