"""The attacks that ours are compared with: torchattacks' and SemSegBench's loop."""

from collections.abc import Callable
from typing import Any

import torch
import torchattacks
from torch import Tensor, nn
from torch.nn import functional as F

# Maps the model (pixels in [0, 1] to logits of the labels' size), the pixels and the labels to adversarial pixels.
Rival = Callable[[nn.Module, Tensor, Tensor], Tensor]
# Maps the losses of all labels, the logits, the labels and the completed share of the steps to weighted losses.
Weighting = Callable[[Tensor, Tensor, Tensor, float], Tensor]


def library(name: str, **parameters: Any) -> Rival:
    """Return a torchattacks attack."""
    return lambda model, pixels, target: getattr(torchattacks, name)(model, **parameters)(pixels, target)


def library_ensemble(eps: float, steps: int, queries: int) -> Rival:
    """Return AutoAttack built from its parts in torchattacks, whose own AutoAttack ignores the number of steps."""
    shared = {'norm': 'Linf', 'eps': eps}

    def attack(model: nn.Module, pixels: Tensor, target: Tensor) -> Tensor:
        parts = [
            torchattacks.APGD(model, steps=steps, **shared),
            torchattacks.APGDT(model, steps=steps, n_classes=10, **shared),
            torchattacks.FAB(model, steps=steps, multi_targeted=True, n_classes=10, **shared),
            torchattacks.Square(model, n_queries=queries, resc_schedule=False, **shared),
        ]
        return torchattacks.MultiAttack(parts)(pixels, target)

    return attack


def dense_loop(eps: float, step_size: float, steps: int, weighting: Weighting | None = None) -> Rival:
    """Return PGD as SemSegBench implements it.

    It runs a full backward pass through trainable parameters, and after each step a second forward for the prediction
    (here without a graph, which makes it cheaper).
    """

    def attack(model: nn.Module, pixels: Tensor, target: Tensor) -> Tensor:
        lower, upper = (pixels - eps).clamp(min=0), (pixels + eps).clamp(max=1)
        images = (pixels + torch.empty_like(pixels).uniform_(-eps, eps)).clamp(0, 1)
        for step in range(steps):
            images.requires_grad_()
            logits = model(images)
            losses = F.cross_entropy(logits, target, reduction='none')
            weighted = losses if weighting is None else weighting(losses, logits, target, step / steps)
            model.zero_grad()
            weighted.mean().backward()
            grad = images.grad
            images = (images.detach() + step_size * torch.sign(grad)).clamp(lower, upper)  # type: ignore[arg-type]
            with torch.no_grad():
                model(images).argmax(1)
        model.zero_grad()
        return images

    return attack


def segpgd_weights(losses: Tensor, logits: Tensor, target: Tensor, progress: float) -> Tensor:
    return torch.where(logits.argmax(1) == target, 1 - progress / 2, progress / 2) * losses


def cospgd_weights(losses: Tensor, logits: Tensor, target: Tensor, progress: float) -> Tensor:
    one_hot = F.one_hot(target, logits.shape[1]).movedim(-1, 1).to(logits)
    return F.cosine_similarity(logits.detach().softmax(1), one_hot, dim=1) * losses
