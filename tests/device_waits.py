"""Where a program would wait for its device, seen on a CPU: some tensors are taken for those of an accelerator."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

# Operators whose result the host reads, or whose output has a size that only the device knows.
READS = {'_local_scalar_dense', 'is_nonzero', 'equal', 'nonzero', 'masked_select', 'bincount', 'unique_dim', '_unique2'}
READS |= {'_unique', 'unique_consecutive', 'unique_dim_consecutive', 'repeat_interleave.Tensor', 'allclose'}
INDEXING = {'index', 'index_put', 'index_put_', '_index_put_impl_', '_unsafe_index', '_unsafe_index_put'}
TO_HOST = {Tensor.tolist, Tensor.numpy, Tensor.cpu, Tensor.__array__, Tensor.new_tensor}  # and from it
IS_CPU = Tensor.is_cpu.__get__


class DeviceWait(AssertionError):
    """The host waited for the device."""


class _Device:
    """Tracks by memory which tensors are on the device: the registered ones and all tensors made from them."""

    def __init__(self) -> None:
        self._memory: dict[int, StorageWeakRef] = {}  # while a weak reference lives, its number is not given again

    def take(self, values: Any) -> None:
        for tensor in tree_iter(values):
            if isinstance(tensor, Tensor):
                reference = StorageWeakRef(tensor.untyped_storage())
                self._memory[reference.cdata] = reference

    def holds(self, value: Any) -> bool:
        return isinstance(value, Tensor) and value.untyped_storage()._cdata in self._memory


class _Operators(TorchDispatchMode):
    def __init__(self, device: _Device, found: Callable[[str], None]) -> None:
        super().__init__()
        self.device, self.found = device, found

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        touches = any(self.device.holds(value) for value in tree_iter((args, kwargs)))
        if touches:
            name = func.__name__
            packet = name.split('.')[0]
            if name in READS or packet in READS or (packet in INDEXING and self._waits(args)):
                self.found(f'aten::{packet}')
            if packet == 'copy_' and self.device.holds(args[0]) != self.device.holds(args[1]):
                self.found('a copy between host and device')
        result = func(*args, **kwargs)
        if touches:
            self.device.take(result)
        return result

    def _waits(self, args: tuple) -> bool:
        """A mask has to be counted, and indices or values of the host to be copied."""
        indices = [index for index in args[1] if index is not None]
        masks = any(index.dtype in (torch.bool, torch.uint8) for index in indices)
        return masks or not all(self.device.holds(tensor) for tensor in (args[0], *indices, *args[2:3]))


class _Functions(TorchFunctionMode):
    def __init__(self, device: _Device, found: Callable[[str], None]) -> None:
        super().__init__()
        self.device, self.found = device, found

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        on_device = bool(args) and self.device.holds(args[0])
        if on_device and func == IS_CPU:
            return False
        if func in TO_HOST and on_device:
            self.found(f'Tensor.{func.__name__}')
        moved = func is Tensor.to and not on_device and any(self.device.holds(value) for value in args[1:])
        if moved and not kwargs.get('non_blocking'):
            self.found('Tensor.to, from the host')
        result = func(*args, **kwargs)
        if moved:
            result = result.clone()  # otherwise the host's tensor would count as well
            self.device.take(result)
        return result


@contextmanager
def device_waits(tensors: Iterable[Tensor]) -> Iterator[list[str]]:
    """Give the list of the waits that happen in the block.

    Not seen is a copy of a host tensor to a device that is given by its name, ``torch.tensor(..., device=device)``.

    Args:
        tensors: the tensors on the device at the start, nested in any way.
    """
    device, found = _Device(), []
    device.take(tensors)
    with _Operators(device, found.append), _Functions(device, found.append):
        yield found


@contextmanager
def no_device_waits(tensors: Iterable[Tensor]) -> Iterator[None]:
    """Fail where the block waits for the device that holds ``tensors``.

    Raises:
        DeviceWait: immediately, from within, so the trace shows the line.
    """

    def refuse(what: str) -> None:
        raise DeviceWait(f'{what} waits for the device')

    device = _Device()
    device.take(tensors)
    with _Operators(device, refuse), _Functions(device, refuse):
        yield
