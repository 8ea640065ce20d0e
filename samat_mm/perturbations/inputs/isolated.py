"""torchattacks, without its side effects.

The library reseeds the global generators, switches the modes of the model's whole tree, calls ``backward`` through the
model's parameters, and keeps every model that it was given in a list that is never emptied.
"""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from samat_mm.perturbations.inputs.finite import check_gradient
from samat_mm.perturbations.inputs.problem import Predict
from samat_mm.perturbations.randomness import isolated_randomness


def isolated(
    make: Callable[[nn.Module], Any], predict: Predict, images: Tensor, labels: Tensor, seed: int = 0
) -> Tensor:
    """Return the adversarial images of an attack of torchattacks, leaving everything else as it was.

    Args:
        make: builds the attack for a model, ``lambda model: torchattacks.APGD(model, ...)``. It has to pass whatever
            depends on the number of classes: the library's defaults are for 10.
        predict: maps pixels (N, C, H, W) to logits (N, K).
        images: pixels in [0, 1].
        labels: classes (N,).
        seed: seed of every global generator, meanwhile.
    """
    # It seeds the current CUDA device even when the images are elsewhere.
    device = torch.device('cuda', torch.cuda.current_device()) if torch.cuda.is_available() else images.device
    model = _Model(predict, images)
    with isolated_randomness(device), isolated_randomness(images.device), torch.enable_grad():
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        try:
            found = make(model)(images.float().contiguous(), labels)  # it reads images in the order of memory
        finally:
            model.held.clear()  # it keeps the model for ever, which must not keep the batch
    return found.detach().to(images.dtype).clamp(0, 1)


class _Model(nn.Module):
    """``predict`` as the module that torchattacks wants, without modes and with gradients for the pixels alone."""

    def __init__(self, predict: Predict, images: Tensor) -> None:
        super().__init__()
        self.device_anchor = nn.Parameter(images.new_empty(0))  # it looks for the device there
        self.dtype = images.dtype
        self.held = [predict]  # in a list: as a submodule, its modes would be switched with this one's

    def forward(self, pixels: Tensor) -> Tensor:
        (predict,), pixels = self.held, pixels.to(self.dtype)
        if torch.is_grad_enabled() and pixels.requires_grad:
            return _InputGradient.apply(pixels, predict).float()
        with torch.no_grad():
            return predict(pixels).float().clone()


class _InputGradient(torch.autograd.Function):
    """A function whose backward pass reaches its input and no parameter."""

    @staticmethod
    def forward(ctx: Any, pixels: Tensor, predict: Predict) -> Tensor:
        with torch.enable_grad():
            ctx.pixels = pixels.detach().requires_grad_()
            ctx.logits = predict(ctx.pixels)
        return ctx.logits.detach().clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (grad,) = torch.autograd.grad(ctx.logits, ctx.pixels, grads[0], retain_graph=True)  # FAB asks K times
        check_gradient(grad)
        return grad.contiguous(), None
