"""The paper's theory: how much standard training, adversarial training and SAM rely on a robust feature.

`model.py` is the model; `theorems.py` has the theorems as functions, the paper's and the corrected ones. Exact optima:
`adversarial.py` (also of standard training), `sharpness_aware.py`, and `all_weights.py` for SAM whose ball holds all
weights. `training.py` reaches them by training on samples with the parts of :mod:`samat_mm.perturbations`, where SAM
has to look on both sides (`two_sided.py`). `grid.py`, `cases.py` and `report.py` make the tables of
docs/results/theory.md.
"""

from samat_mm.theory.adversarial import INPUT_BALLS, exact_adversarial_weight, exact_standard_weight
from samat_mm.theory.all_weights import all_weights_sam_weight, all_weights_sam_weight_approximate
from samat_mm.theory.cases import cases, train
from samat_mm.theory.grid import ball_rows, grid_row
from samat_mm.theory.model import Data, FeatureModel
from samat_mm.theory.report import print_report
from samat_mm.theory.sharpness_aware import exact_sam_weight, per_sample_sam_weight
from samat_mm.theory.theorems import (
    adversarial_weight,
    exact_matching_radius,
    matching_radius_corrected,
    matching_radius_paper,
    sam_excess,
    sam_range,
    sam_weight_corrected,
    sam_weight_paper,
    standard_weight,
)
from samat_mm.theory.training import Estimate, Recipe, Training
from samat_mm.theory.two_sided import TwoSidedSAM

__all__ = [
    'INPUT_BALLS',
    'Data',
    'Estimate',
    'FeatureModel',
    'Recipe',
    'Training',
    'TwoSidedSAM',
    'adversarial_weight',
    'all_weights_sam_weight',
    'all_weights_sam_weight_approximate',
    'ball_rows',
    'cases',
    'exact_adversarial_weight',
    'exact_matching_radius',
    'exact_sam_weight',
    'exact_standard_weight',
    'grid_row',
    'matching_radius_corrected',
    'matching_radius_paper',
    'per_sample_sam_weight',
    'print_report',
    'sam_excess',
    'sam_range',
    'sam_weight_corrected',
    'sam_weight_paper',
    'standard_weight',
    'train',
]
