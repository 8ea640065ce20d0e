"""Measure the sharpness of a minimum: worst-case loss rises, the Hessian, loss landscapes."""

from samat_mm.sharpness.batches import draw_batches
from samat_mm.sharpness.hessian import Eigenvalue, Trace, top_eigenvalue, trace
from samat_mm.sharpness.landscape import Landscape, filter_normalised_direction, loss_landscape
from samat_mm.sharpness.measurement import Measurement
from samat_mm.sharpness.objective import loss_surface, prepare
from samat_mm.sharpness.rise import loss_rises, one_step_rises
from samat_mm.sharpness.surface import LossSurface

__all__ = [
    'Eigenvalue',
    'Landscape',
    'LossSurface',
    'Measurement',
    'Trace',
    'draw_batches',
    'filter_normalised_direction',
    'loss_landscape',
    'loss_rises',
    'loss_surface',
    'one_step_rises',
    'prepare',
    'top_eigenvalue',
    'trace',
]
