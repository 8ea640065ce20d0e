"""The adapters that OpenMMLab users meet: optimizer wrappers, hooks and loops, in MMEngine's root registries."""

from samat_mm.engine import hooks, loops, optim_wrappers

__all__ = ['hooks', 'loops', 'optim_wrappers']
