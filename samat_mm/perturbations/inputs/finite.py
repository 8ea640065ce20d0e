"""Numbers that an attack cannot go by: NaN and infinity, in what a model gives and in its gradient."""

import torch
from torch import Tensor

from samat_mm.errors import NonFiniteError


def check_finite(values: Tensor, grad: Tensor | None = None) -> None:
    """Refuse a NaN or an infinite value, which no comparison could tell from a success or a failure.

    Args:
        values: logits or losses.
        grad: the gradient of the losses with respect to the images; both are looked at in one wait for the device.

    Raises:
        FloatingPointError: if there is one.
    """
    finite = [torch.isfinite(values).all()]
    if grad is not None:
        finite.append(torch.isfinite(grad).all().to(values.device))
    sound, *steep = torch.stack(finite).tolist()
    if not sound:
        raise NonFiniteError(
            'the model gives logits or a loss that is not finite (NaN or infinite) on these images; '
            'check the checkpoint and the preprocessing before attacking it.'
        )
    if not all(steep):
        _refuse_gradient()


def check_gradient(grad: Tensor) -> None:
    """Refuse a gradient with a NaN or an infinite entry: the sign of NaN is 0, a step that moves nothing in silence.

    Args:
        grad: a gradient with respect to images or what moves them, or the largest absolute value of each of several.

    Raises:
        FloatingPointError: if there is one.
    """
    if not bool(torch.isfinite(grad).all()):
        _refuse_gradient()


def _refuse_gradient() -> None:
    raise NonFiniteError(
        'the gradient of the loss with respect to the images is not finite (NaN or infinite), although the loss is, '
        'so that no step could follow it; look for a square root, a logarithm or a division at 0 in the model or the '
        'loss, and attack a model of lower precision in float32.'
    )
