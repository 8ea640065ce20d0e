"""Run attacks on a fast copy of the model: any image inside the ball is an attack, and the model itself scores it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from samat_mm.crafting.fast_copy import FastCopy
from samat_mm.perturbations.checks import one_of
from samat_mm.perturbations.inputs import Attack
from samat_mm.perturbations.randomness import isolated_randomness
from samat_mm.pixels.input_space import InputSpace
from samat_mm.pixels.passes import Passes
from samat_mm.pixels.views import View, seen_through

DTYPES = {'float32': torch.float32, 'bfloat16': torch.bfloat16}
MIXED = 'mixed'
PRECISIONS = (*DTYPES, MIXED)


class Crafting:
    """Runs attacks on a copy of a model with folded normalisation, in the faster memory layout and a chosen precision.

    The copy takes the model's current weights at each attack. If the model cannot be copied, or its copy would compute
    something else, attacks run on the model itself and a log line says so. Attacks that stop at the first error attack
    an image again on the model itself if only the copy gets it wrong.

    Args:
        model: the bare model (not its distributed wrapper).
        dtype: 'float32'; 'bfloat16' (autocast); 'mixed' for bfloat16 in the early steps and the model's own precision
            in the last fifth; or None for the precision of the surrounding autocast. float16 is not offered: without
            a loss scale, gradients with respect to the input underflow in it.
        views: how the attack sees the batch, one after the other; see :func:`samat_mm.pixels.views.seen_through`.

    Raises:
        ValueError: if ``dtype`` is none of these.
    """

    def __init__(self, model: nn.Module, dtype: str | None = None, views: Sequence[View] = ()) -> None:
        self.check(dtype)
        self.model, self.dtype, self.views = model, dtype, tuple(views)
        self._copies: dict[tuple[str, str], FastCopy | None] = {}

    @staticmethod
    def check(dtype: str | None) -> None:
        """Refuse an unknown precision, before there is a model.

        Raises:
            ValueError: if it is neither None nor one of ``PRECISIONS``.
        """
        if dtype is not None:
            one_of(dtype, list(PRECISIONS), 'craft_dtype')

    def attack(self, space: InputSpace, attack: Attack, indices: Sequence[int], *, training: bool = False) -> Tensor:
        """Return adversarial pixels, leaving the model as it was; see :meth:`InputSpace.attack`."""
        if not len(space.inputs):
            return space.pixels.clone()
        space, to_pixels = seen_through(self.views, space)
        if space.model is not self.model:
            space = space.on(self.model)
        with _without_kernel_search() if attack.stops_at_errors else nullcontext():
            return to_pixels(self._attacked(space, attack, indices, training))

    def _attacked(self, space: InputSpace, attack: Attack, indices: Sequence[int], training: bool) -> Tensor:
        device = space.inputs.device
        own = _autocast_dtype(device)  # the precision of the model's own predictions
        late = own if self.dtype in (None, MIXED) else self.dtype
        early = 'bfloat16' if self.dtype == MIXED else late
        if 'bfloat16' in (early, late) and device.type == 'cpu':
            _warn_of_slow_bfloat16()
        copied = self._synced(late, space, attack, training)
        with _precision(device, late):
            if copied is None:
                return space.attack(attack, indices, training=training)
            fast = space.on(copied.model, copied.memory_format)
            faster = None if early == late else self._synced(early, space, attack, training)
            rough = None if faster is None else space.on(faster.model, faster.memory_format)
            pixels = fast.attack(attack, indices, training=training, early=rough).contiguous()
            if not attack.stops_at_errors:
                return pixels
            wrong = fast.wrong(pixels)
        rows = (wrong & ~space.wrong(pixels)).nonzero().flatten()
        if len(rows):
            numbers = [indices[row] for row in rows.tolist()]
            with _precision(device, own):
                pixels[rows] = space.subset(rows).attack(attack, numbers, training=training)
        return pixels

    def __getstate__(self) -> dict[str, Any]:
        """Leave the copies out of copies and pickles; they are created again when needed."""
        return {**vars(self), '_copies': {}}

    def _synced(self, dtype: str, space: InputSpace, attack: Attack, training: bool) -> FastCopy | None:
        """Return the copy in that precision with the model's current weights, or None if there is none."""
        copied = self._copy(dtype, space, attack, training)
        if copied is not None:
            copied.sync()
        return copied

    def _copy(self, dtype: str, space: InputSpace, attack: Attack, training: bool) -> FastCopy | None:
        key = dtype, attack.objective.output  # the forwards of logits and of the training loss may differ
        known = self._copies.get(key)
        if key not in self._copies or (known is not None and known.is_outdated):
            self._copies[key] = self._create(dtype, space, attack, training)
        return self._copies[key]

    def _create(self, dtype: str, space: InputSpace, attack: Attack, training: bool) -> FastCopy | None:
        first = space.subset(torch.zeros(1, dtype=torch.long))
        first.passes = Passes()

        def probe(model: nn.Module, memory_format: torch.memory_format) -> Tensor:
            return first.on(model, memory_format).output(attack, training=training)

        device = space.inputs.device
        with _without_kernel_search(), isolated_randomness(device), _precision(device, 'float32'):
            try:
                return FastCopy(self.model, probe, DTYPES[dtype])
            except RuntimeError as error:
                print_log(f'Attacks run on the model itself: {error}.', 'current')
                return None


@contextmanager
def _without_kernel_search() -> Iterator[None]:
    """Keep cuDNN from timing its kernels for sizes that will not recur.

    Examples are a batch from which finished images drop out, and the single image on which a copy is checked.
    """
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def _autocast_dtype(device: torch.device) -> str:
    enabled = torch.is_autocast_enabled(device.type)
    return 'bfloat16' if enabled and torch.get_autocast_dtype(device.type) == torch.bfloat16 else 'float32'


@cache
def _warn_of_slow_bfloat16() -> None:
    """Log, once, that this processor has no instructions for bfloat16; do nothing if that is unknown."""
    is_x86 = torch.backends.cpu.get_cpu_capability().startswith('AVX')
    if is_x86 and not (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()):
        print_log(
            "This CPU has no bfloat16 instructions, so attacks take longer in bfloat16 than in craft_dtype='float32'.",
            'current',
        )


def _precision(device: torch.device, dtype: str) -> torch.autocast | nullcontext:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == 'bfloat16')
