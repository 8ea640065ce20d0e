"""The only module that knows about distributions, versions and where files come from.

Importing it repairs three things, for the whole process, that would otherwise go wrong before any of our code runs:
cross-references between configs, torchvision beside a CPU-only torch, and local checkpoints that could run code.
"""

import io
import os
import pickle
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from samat_mm.errors import InputError, MissingFileError, MissingPackageError

TRUST_VARIABLE = 'SAMAT_MM_TRUST_CHECKPOINTS'

# What an unpickler stumbles over in a file of any content.
UNREADABLE = (
    RuntimeError,
    EOFError,
    LookupError,
    ValueError,
    AttributeError,
    OSError,
    TypeError,
    AssertionError,
    ImportError,
    ArithmeticError,
)
# import name -> the maintained distribution that may provide it
FORKS = {'mmseg': 'onedl-mmsegmentation', 'mmpretrain': 'onedl-mmpretrain', 'mmdet': 'onedl-mmdetection'}
REPORTED = (
    'samat-mm',
    'torch',
    'torchvision',
    'onedl-mmengine',
    'mmengine',
    'onedl-mmcv',
    'mmcv',
    'onedl-mmsegmentation',
    'mmsegmentation',
    'onedl-mmpretrain',
    'mmpretrain',
    'torchattacks',
)


def is_installed(distribution: str) -> bool:
    """Tell whether a distribution is installed, by its name on the package index."""
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def map_config_references() -> None:
    """Make ``mmseg::`` and ``mmpretrain::`` resolve to the distributions that are installed.

    MMEngine maps an import name to one distribution, and where that is missing it runs ``pip install`` for it, which
    would overwrite a maintained fork with files of another version.
    """
    from mmengine.config.utils import MODULE2PACKAGE

    for module, fork in FORKS.items():
        if is_installed(fork):
            MODULE2PACKAGE[module] = fork


def refuse_installations() -> None:
    """Keep ``mmengine.hub``, which asks for every library it reads, from running ``pip install`` for a missing one."""
    from mmengine.hub import hub

    hub.install_package = _require_installed


def _require_installed(package: str) -> None:
    from mmengine.utils import is_installed as is_importable

    if not is_installed(package) and not is_importable(package):
        raise MissingPackageError(
            f'{package} is not installed, and samat_mm keeps mmengine from installing it; install it.'
        )


def let_torchvision_import() -> None:
    """Let a torchvision built for CUDA be imported beside a CPU-only torch.

    Its compiled operators do not load there, and it fails at import because the schemas of two of them are missing.
    Where they do load, nothing is done.
    """
    try:
        import torchvision
    except ImportError:
        return
    except RuntimeError as error:
        if 'torchvision::nms' not in str(error):
            raise
        _declare_torchvision_operators()
        import torchvision  # noqa: F401


_torchvision_library: Any = None  # a Library withdraws its schemas when it is collected


def _declare_torchvision_operators() -> None:
    global _torchvision_library
    _torchvision_library = torch.library.Library('torchvision', 'FRAGMENT')
    for name in ('nms', 'qnms'):
        _torchvision_library.define(f'{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')


def load_checkpoint_file(filename: str | Path, map_location: Any = 'cpu', content: bytes | None = None) -> Any:
    """Load a local checkpoint, or one that is a part of a local file, without letting it run code.

    Only tensors, plain containers and the log buffers that MMEngine stores are admitted, unless the environment
    variable ``SAMAT_MM_TRUST_CHECKPOINTS=1`` says that the file is trusted.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is no checkpoint, is damaged, or holds objects that loading would have to execute.
    """
    path = Path(filename).expanduser()
    if not path.is_file():
        raise MissingFileError(f'checkpoint {path} is not a file; give the path of a .pth file.')
    source = path if content is None else io.BytesIO(content)
    if os.environ.get(TRUST_VARIABLE) == '1':
        return torch.load(source, map_location=map_location, weights_only=False)
    try:
        with torch.serialization.safe_globals(_admitted_types()):
            return torch.load(source, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        if 'unsupported global' in str(error).lower():
            refused = str(error).partition('GLOBAL ')[2].split(' ')[0] or 'an unknown object'
            raise InputError(
                f'checkpoint {path} was refused: it holds {refused}, which loading would have to execute. '
                f'If you trust the file, set {TRUST_VARIABLE}=1 and run again.'
            ) from None
        raise InputError(f'checkpoint {path} is damaged or no checkpoint: {_first_line(error)}') from None
    except UNREADABLE as error:
        raise InputError(f'checkpoint {path} is damaged or no checkpoint: {_first_line(error)}') from None


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition('\n')[0] or type(error).__name__


def _admitted_types() -> list[Any]:
    """Return what checkpoints of MMEngine hold beside tensors: log buffers and numpy scalars."""
    import numpy
    from mmengine.logging.history_buffer import HistoryBuffer

    core = numpy._core if hasattr(numpy, '_core') else numpy.core
    dtypes = [type(numpy.dtype(name)) for name in ('float64', 'float32', 'int64', 'int32', 'bool', 'uint8')]
    return [
        HistoryBuffer,
        core.multiarray._reconstruct,
        core.multiarray.scalar,
        numpy.ndarray,
        numpy.dtype,
        numpy.float64,
        numpy.int64,
        *dtypes,
        # By the names under which files hold them: methods of log buffers, and the arrays of numpy 1.
        (_method_of_log_buffer, 'builtins.getattr'),
        (core.multiarray._reconstruct, 'numpy.core.multiarray._reconstruct'),
        (core.multiarray.scalar, 'numpy.core.multiarray.scalar'),
    ]


def _method_of_log_buffer(owner: Any, name: str) -> Any:
    """Stand in for the ``getattr`` with which log buffers store the statistics they offer."""
    from mmengine.logging.history_buffer import HistoryBuffer

    if owner is not HistoryBuffer or name not in ('min', 'max', 'mean', 'current'):
        raise pickle.UnpicklingError('Unsupported global: GLOBAL getattr was not an allowed global')
    return getattr(owner, name)


def refuse_unsafe_checkpoints() -> None:
    """Make every local checkpoint that MMEngine loads go through :func:`load_checkpoint_file`.

    MMEngine itself falls back to unpickling anything where the safe way fails.
    """
    from mmengine.runner import CheckpointLoader

    CheckpointLoader.register_scheme(prefixes='', loader=load_checkpoint_file, force=True)


def versions() -> dict[str, str]:
    """Return the versions of the distributions a result depends on."""
    return {name: metadata.version(name) for name in REPORTED if is_installed(name)}


let_torchvision_import()
map_config_references()
refuse_installations()
refuse_unsafe_checkpoints()
