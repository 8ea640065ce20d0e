"""Numbers that an attack cannot go by: NaN and infinity, in what a model gives and in its gradient."""

import torch
from torch import Tensor

from samat_mm.errors import NonFiniteError


class FiniteWatch:
    """Notes at every step of a search whether all was finite, and tells once at its end.

    To look at a value waits for the device: at every step, it would leave the device without work in between.
    """

    def __init__(self) -> None:
        self._seen: list[Tensor] = []

    def note(self, values: Tensor, grad: Tensor | None = None) -> None:
        """Note whether losses or logits are finite, and the gradient with respect to the images."""
        sound = _is_finite(values.detach())
        steep = torch.ones_like(sound) if grad is None else _is_finite(grad).to(sound.device)
        self._seen.append(torch.stack([sound, steep]))

    def check(self) -> None:
        """Refuse what was noted since the last check, where a value is NaN or infinite; the first one is named.

        Raises:
            FloatingPointError: if there is one.
        """
        if not self._seen:
            return
        seen, self._seen = self._seen, []
        for sound, steep in torch.stack([pair.to(seen[0].device) for pair in seen]).tolist():
            if not sound:
                _refuse_values()
            if not steep:
                _refuse_gradient()


def check_finite(values: Tensor) -> None:
    """Refuse a NaN or an infinite value, which no comparison could tell from a success or a failure.

    Args:
        values: logits or losses.

    Raises:
        FloatingPointError: if there is one.
    """
    if not bool(_is_finite(values)):
        _refuse_values()


def check_gradient(grad: Tensor) -> None:
    """Refuse a gradient with a NaN or an infinite entry: the sign of NaN is 0, a step that moves nothing in silence.

    Args:
        grad: a gradient with respect to images or what moves them, or the largest absolute value of each of several.

    Raises:
        FloatingPointError: if there is one.
    """
    if not bool(torch.isfinite(grad).all()):
        _refuse_gradient()


def _is_finite(values: Tensor) -> Tensor:
    return torch.isfinite(values.abs().amax())  # NaN if there is one, and several times faster than to ask every value


def _refuse_values() -> None:
    raise NonFiniteError(
        'the model gives logits or a loss that is not finite (NaN or infinite) on these images; '
        'check the checkpoint and the preprocessing before attacking it.'
    )


def _refuse_gradient() -> None:
    raise NonFiniteError(
        'the gradient of the loss with respect to the images is not finite (NaN or infinite), although the loss is, '
        'so that no step could follow it; look for a square root, a logarithm or a division at 0 in the model or the '
        'loss, and attack a model of lower precision in float32.'
    )
