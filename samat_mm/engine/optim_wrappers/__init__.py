"""Weight perturbations as MMEngine optimizer wrappers, each with its mixed precision twin."""

from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS

from samat_mm.engine.optim_wrappers.amp import AnyDeviceAmpOptimWrapper
from samat_mm.engine.optim_wrappers.sharpness_aware import SharpnessAwareMixin

__all__ = [
    'ASAMOptimWrapper',
    'AmpASAMOptimWrapper',
    'AmpESAMOptimWrapper',
    'AmpSAMOptimWrapper',
    'AnyDeviceAmpOptimWrapper',
    'ESAMOptimWrapper',
    'SAMOptimWrapper',
    'SharpnessAwareMixin',
]


@OPTIM_WRAPPERS.register_module()
class SAMOptimWrapper(SharpnessAwareMixin, OptimWrapper):
    """Any optimizer under sharpness-aware minimisation, SAM unless ``perturbation`` names another method."""

    default_perturbation = 'SAM'


@OPTIM_WRAPPERS.register_module()
class AmpSAMOptimWrapper(SharpnessAwareMixin, AnyDeviceAmpOptimWrapper):
    """:class:`SAMOptimWrapper` in mixed precision."""

    default_perturbation = 'SAM'


@OPTIM_WRAPPERS.register_module()
class ASAMOptimWrapper(SharpnessAwareMixin, OptimWrapper):
    """Any optimizer under adaptive sharpness-aware minimisation (ASAM)."""

    default_perturbation = 'ASAM'


@OPTIM_WRAPPERS.register_module()
class AmpASAMOptimWrapper(SharpnessAwareMixin, AnyDeviceAmpOptimWrapper):
    """:class:`ASAMOptimWrapper` in mixed precision."""

    default_perturbation = 'ASAM'


@OPTIM_WRAPPERS.register_module()
class ESAMOptimWrapper(SharpnessAwareMixin, OptimWrapper):
    """Any optimizer under efficient sharpness-aware minimisation (ESAM)."""

    default_perturbation = 'ESAM'


@OPTIM_WRAPPERS.register_module()
class AmpESAMOptimWrapper(SharpnessAwareMixin, AnyDeviceAmpOptimWrapper):
    """:class:`ESAMOptimWrapper` in mixed precision."""

    default_perturbation = 'ESAM'
