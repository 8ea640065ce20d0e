"""Attacks run on a fast copy of the model: any image inside the ball is an attack, and the model itself scores it."""

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from samat_mm.models.fast_copy import FastCopy
from samat_mm.models.pixel_space import Passes, PixelSpace
from samat_mm.perturbations.checks import one_of
from samat_mm.perturbations.inputs import Attack, ClassificationAttack

DTYPES = {'float32': torch.float32, 'bfloat16': torch.bfloat16}


class Crafting:
    """Runs attacks on a copy of a model with folded normalisation, in channels-last layout, in a precision of its own.

    The copy takes over the model's current weights at each attack. Where a model cannot be copied, or its copy would
    not compute the same, attacks run on the model itself, which is logged. An image that only the copy gets wrong is
    attacked again on the model itself by attacks that stop at the first error.

    Args:
        model: the bare model (not its distributed wrapper).
        dtype: 'float32', 'bfloat16' (autocast), or None for that of the surrounding autocast. float16 is never used:
            without a loss scale, gradients with respect to the input underflow in it.

    Raises:
        ValueError: if ``dtype`` is another one.
    """

    def __init__(self, model: nn.Module, dtype: str | None = None) -> None:
        self.check(dtype)
        self.model, self.dtype = model, dtype
        self._copies: dict[str, FastCopy | None] = {}

    @staticmethod
    def check(dtype: str | None) -> None:
        """Refuse a precision that is unknown, before there is a model.

        Raises:
            ValueError: if it is neither None nor 'float32' or 'bfloat16'.
        """
        if dtype is not None:
            one_of(dtype, list(DTYPES), 'craft_dtype')

    def attack(self, space: PixelSpace, attack: Attack, indices: Sequence[int], *, training: bool = False) -> Tensor:
        """Return adversarial pixels, leaving the model as it was; see :meth:`PixelSpace.attack`."""
        if space.model is not self.model:
            space = space.on(self.model)
        dtype = self._resolved(space.inputs.device)
        copied = self._copy(dtype, space, attack, training)
        with _precision(space.inputs.device, dtype):
            if copied is None:
                return space.attack(attack, indices, training=training)
            copied.sync()
            fast = space.on(copied.model, torch.channels_last)
            pixels = fast.attack(attack, indices, training=training).contiguous()
            if not _stops_at_errors(attack):
                return pixels
            wrong = fast.wrong(pixels)
        rows = (wrong & ~space.wrong(pixels)).nonzero().flatten()
        if len(rows):
            numbers = [indices[row] for row in rows.tolist()]
            pixels[rows] = space.subset(rows).attack(attack, numbers, training=training)
        return pixels

    def _resolved(self, device: torch.device) -> str:
        if self.dtype is not None:
            return self.dtype
        ambient = torch.is_autocast_enabled(device.type) and torch.get_autocast_dtype(device.type) == torch.bfloat16
        return 'bfloat16' if ambient else 'float32'

    def _copy(self, dtype: str, space: PixelSpace, attack: Attack, training: bool) -> FastCopy | None:
        if dtype not in self._copies:
            first = space.subset(torch.zeros(min(1, len(space.inputs)), dtype=torch.long))
            first.passes = Passes()
            devices = [space.inputs.device] if space.inputs.is_cuda else []
            with torch.random.fork_rng(devices=devices), _precision(space.inputs.device, 'float32'):
                try:
                    self._copies[dtype] = FastCopy(
                        self.model, lambda model: first.on(model).output(attack, training=training), DTYPES[dtype]
                    )
                except RuntimeError as error:
                    print_log(f'Attacks run on the model itself: {error}.', 'current')
                    self._copies[dtype] = None
        return self._copies[dtype]


def _stops_at_errors(attack: Attack) -> bool:
    return isinstance(attack, ClassificationAttack) or getattr(attack, 'goal', 'loss') == 'error'


def _precision(device: torch.device, dtype: str) -> torch.autocast | nullcontext:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == 'bfloat16')
