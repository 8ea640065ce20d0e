"""The precision, memory layout and compiler with which a model runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

CUDNN, CUBLAS = torch.backends.cudnn, torch.backends.cuda.matmul


@dataclass(frozen=True)
class Numerics:
    """How a model is computed.

    Attributes:
        tf32: whether convolutions and matrix products in float32 may use TF32 (CPUs do not support it).
        dtype: type of autocast; None without it.
        layout: memory layout of the weights, which the features adopt.
        compiler: backend of torch.compile; None without it.
    """

    tf32: bool = False
    dtype: str | None = None
    layout: torch.memory_format = torch.contiguous_format
    compiler: str | None = None

    @contextmanager
    def active(self) -> Iterator[None]:
        """Apply the float32 precision inside the block."""
        before = CUDNN.allow_tf32, CUBLAS.allow_tf32
        CUDNN.allow_tf32 = CUBLAS.allow_tf32 = self.tf32
        try:
            yield
        finally:
            CUDNN.allow_tf32, CUBLAS.allow_tf32 = before

    def autocast(self, device: str) -> torch.autocast:
        """Return the autocast context of a forward."""
        dtype = getattr(torch, self.dtype or 'bfloat16')
        return torch.autocast(device.partition(':')[0], dtype=dtype, enabled=self.dtype is not None)

    def lay_out(self, model: nn.Module) -> nn.Module:
        """Convert the weights to the layout."""
        return model.to(memory_format=self.layout)

    def compiled(self, function: Any) -> Any:
        """Return the function, compiled if there is a compiler."""
        return function if self.compiler is None else torch.compile(function, backend=self.compiler)


LAST = torch.channels_last
COMPILING = 40  # least number of seconds for compilation
PLAIN, TF32 = 'float32', 'TF32'
NUMERICS: dict[str, Numerics] = {
    PLAIN: Numerics(),
    TF32: Numerics(tf32=True),
    'bfloat16': Numerics(tf32=True, dtype='bfloat16'),
    'TF32, channels last': Numerics(tf32=True, layout=LAST),
    'bfloat16, channels last': Numerics(tf32=True, dtype='bfloat16', layout=LAST),
    'TF32, compiled': Numerics(tf32=True, compiler='inductor'),
    'bfloat16, channels last, compiled': Numerics(tf32=True, dtype='bfloat16', layout=LAST, compiler='inductor'),
}
