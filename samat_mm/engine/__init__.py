"""The adapters that OpenMMLab users meet: optimizer wrappers and hooks, in MMEngine's root registries."""

from samat_mm.engine import hooks, optim_wrappers

__all__ = ['hooks', 'optim_wrappers']
