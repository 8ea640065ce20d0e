"""NaN and infinity in the output of a model or in its gradient: no attack can be trusted there."""

import torch
from torch import Tensor

from samat_mm.errors import NonFiniteError

VALUES = (
    'the model gives logits or a loss that is not finite (NaN or infinite) on these images; '
    'check the checkpoint and the preprocessing before attacking it.'
)
GRADIENT = (
    'the gradient of the loss with respect to the images is not finite (NaN or infinite), although the loss is, '
    'so that no step could follow it; look for a square root, a logarithm or a division at 0 in the model or the '
    'loss, and attack a model of lower precision in float32.'
)


class FiniteWatch:
    """Notes at every step of a search whether all values were finite, and reports once at its end.

    Reading a value waits for the device, which would be idle between any two steps.
    """

    def __init__(self) -> None:
        self._seen: list[Tensor] = []

    def note(self, values: Tensor, grad: Tensor | None = None) -> None:
        """Note whether losses or logits are finite, and the gradient with respect to the images."""
        sound = _is_finite(values.detach())
        steep = torch.ones_like(sound) if grad is None else _is_finite(grad).to(sound.device)
        self._seen.append(torch.stack([sound, steep]))

    def check(self) -> None:
        """Name the first value noted since the last check that is not finite.

        Raises:
            FloatingPointError: if there is one.
        """
        seen, self._seen = self._seen, []
        if seen:
            for sound, steep in torch.stack([pair.to(seen[0].device) for pair in seen]).tolist():
                if not (sound and steep):
                    raise NonFiniteError(GRADIENT if sound else VALUES)


def check_finite(values: Tensor) -> None:
    """Refuse logits or losses of which one is NaN or infinite: no comparison could tell it from a success or a failure.

    Raises:
        FloatingPointError: if one is.
    """
    if not bool(_is_finite(values)):
        raise NonFiniteError(VALUES)


def check_gradient(grad: Tensor) -> None:
    """Refuse a gradient with a NaN or an infinite entry: the sign of NaN is 0, a step that silently moves nothing.

    Args:
        grad: a gradient, or the largest absolute value of each of several.

    Raises:
        FloatingPointError: if an entry is not finite.
    """
    if not bool(torch.isfinite(grad).all()):
        raise NonFiniteError(GRADIENT)


def _is_finite(values: Tensor) -> Tensor:
    return torch.isfinite(values.abs().amax())  # NaN if there is one, and several times faster than to ask every value
