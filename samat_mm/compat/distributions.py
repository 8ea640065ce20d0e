"""Installed distributions, and how OpenMMLab's names lead to them."""

from importlib import metadata
from typing import Any

from samat_mm.errors import MissingPackageError

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
    """Tell whether a distribution is installed, given its name on the package index."""
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def map_config_references() -> None:
    """Make ``mmseg::`` and ``mmpretrain::`` resolve to the installed distributions.

    MMEngine maps an import name to one distribution, and runs ``pip install`` if that is missing, which would overwrite
    a maintained fork with files of another version.
    """
    from mmengine.config.utils import MODULE2PACKAGE

    for module, fork in FORKS.items():
        if is_installed(fork):
            MODULE2PACKAGE[module] = fork


def refuse_installations() -> None:
    """Keep ``mmengine.hub`` from running ``pip install`` for missing libraries."""
    from mmengine.hub import hub

    hub.install_package = _require_installed


def _require_installed(package: str) -> None:
    from mmengine.utils import is_installed as is_importable

    if not is_installed(package) and not is_importable(package):
        raise MissingPackageError(
            f'{package} is not installed, and samat_mm does not let mmengine install it; install it yourself.'
        )


_torchvision_library: Any = None  # a Library withdraws its schemas when it is collected


def declare_torchvision_operators() -> None:
    """Make a torchvision built for CUDA importable next to a CPU-only torch.

    Its compiled operators do not load there, and the import fails because the schemas of two of them are missing. Call
    this after ``torchvision.extension``, which loads them. If they did load, this does nothing.
    """
    import torch

    global _torchvision_library
    if hasattr(torch.ops.torchvision, 'nms'):
        return
    _torchvision_library = torch.library.Library('torchvision', 'FRAGMENT')
    for name in ('nms', 'qnms'):
        _torchvision_library.define(f'{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')


def versions() -> dict[str, str]:
    """Return the versions of the distributions that results depend on."""
    return {name: metadata.version(name) for name in REPORTED if is_installed(name)}
