"""Make ``mmengine.load`` read pickles and YAML files as data: annotations, class weights, indices, results."""

import io
import pickle
from functools import cache
from typing import Any

import numpy as np

from samat_mm.compat.checkpoints import TRUST_VARIABLE, UNREADABLE, is_trusted, load_checkpoint_bytes
from samat_mm.errors import InputError, UserError

# the last ones make the values of a defaultdict
_BUILTINS = (set, frozenset, complex, bytearray, slice, range, int, float, str, bool, list, dict, tuple)


def load_files_safely() -> None:
    """Register handlers that only read plain data, unless the user trusts the files.

    MMEngine's own handlers run any function that a pickle names, or a YAML file with ``!!python/object/apply``.
    """
    import yaml
    from mmengine.fileio import PickleHandler, YamlHandler, register_handler

    class PlainPickleHandler(PickleHandler):
        """Reads containers, numbers, numpy arrays and tensors."""

        def load_from_fileobj(self, file: Any, **kwargs: Any) -> Any:
            if is_trusted():
                return super().load_from_fileobj(file, **kwargs)
            try:
                return _PlainUnpickler(file, **kwargs).load()
            except UserError:
                raise
            except UNREADABLE as error:
                raise InputError(f'a pickle is damaged or is not one ({error}); replace the file.') from error

    class PlainYamlHandler(YamlHandler):
        """Reads the standard types of YAML, and tuples."""

        def load_from_fileobj(self, file: Any, **kwargs: Any) -> Any:
            if is_trusted() or 'Loader' in kwargs:
                return super().load_from_fileobj(file, **kwargs)
            try:
                return super().load_from_fileobj(file, Loader=_yaml_loader(), **kwargs)
            except yaml.constructor.ConstructorError as error:
                raise InputError(_refusal('a YAML file', error.problem or str(error))) from None
            except yaml.YAMLError as error:
                reason = ' '.join(str(error).split())
                raise InputError(f'a YAML file cannot be read ({reason}); repair it.') from error

    register_handler(['pkl', 'pickle'])(PlainPickleHandler)
    register_handler(['yaml', 'yml'])(PlainYamlHandler)


def load_pickle_bytes(content: bytes, origin: str) -> Any:
    """Load containers, numbers, strings and numpy arrays from a pickle, and nothing else even if the user trusts files.

    Args:
        content: the pickle.
        origin: where it comes from, for errors.

    Raises:
        ValueError: if it is damaged or is not a pickle, or holds objects that loading would have to execute.
    """
    try:
        return _ContainerUnpickler(io.BytesIO(content)).load()
    except UserError:
        raise InputError(
            f'{origin} was refused: it holds something that loading would have to execute; replace the file.'
        ) from None
    except (*UNREADABLE, MemoryError) as error:
        raise InputError(f'{origin} is damaged or is not a pickle ({error}); replace the file.') from error


def _refusal(file: str, what: str) -> str:
    return (
        f'{file} was refused: it holds {what}, which loading would have to execute. '
        f'If you trust it, set {TRUST_VARIABLE}=1 and run again.'
    )


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _admitted()[f'{module}.{name}']
        except KeyError:
            raise InputError(_refusal('a pickle', f'{module}.{name}')) from None


class _ContainerUnpickler(_PlainUnpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module.startswith('torch'):  # a tensor is read as a checkpoint, which may be trusted
            raise InputError(_refusal('a pickle', f'{module}.{name}'))
        return super().find_class(module, name)


@cache
def _admitted() -> dict[str, Any]:
    """Return the constructors of plain data, by their names in pickles of Python 2 and 3, numpy 1 and 2, and torch."""
    import codecs
    from collections import Counter, OrderedDict, defaultdict, deque

    import torch

    core = np._core if hasattr(np, '_core') else np.core
    admitted: dict[str, Any] = {
        'numpy.ndarray': np.ndarray,
        'numpy.dtype': np.dtype,
        '_codecs.encode': codecs.encode,  # bytes in old protocols
        'torch._utils._rebuild_tensor_v2': torch._utils._rebuild_tensor_v2,
        'torch._utils._rebuild_parameter': torch._utils._rebuild_parameter,
        'torch.storage._load_from_bytes': _storage_of,
        **{f'collections.{kind.__name__}': kind for kind in (Counter, OrderedDict, defaultdict, deque)},
    }
    for kind in _BUILTINS:
        admitted[f'builtins.{kind.__name__}'] = admitted[f'__builtin__.{kind.__name__}'] = kind
    for place in ('numpy.core', 'numpy._core'):
        admitted[f'{place}.multiarray._reconstruct'] = core.multiarray._reconstruct
        admitted[f'{place}.multiarray.scalar'] = core.multiarray.scalar
        admitted[f'{place}.numeric._frombuffer'] = core.numeric._frombuffer
    return admitted


def _storage_of(content: bytes) -> Any:
    """Replace the function by which tensors are pickled, which unpickles anything."""
    return load_checkpoint_bytes(content, 'in a pickle')


@cache
def _yaml_loader() -> Any:
    """Return the safe loader, extended by the tuples that MMEngine writes."""
    import yaml

    base: Any = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)
    loader: Any = type('Loader', (base,), {})
    loader.add_constructor('tag:yaml.org,2002:python/tuple', lambda self, node: tuple(self.construct_sequence(node)))
    return loader
