"""The optima on a grid of models and radii, in JSON form."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from samat_mm.errors import InputError
from samat_mm.perturbations.checks import non_negative
from samat_mm.theory.adversarial import INPUT_BALLS, exact_adversarial_weight
from samat_mm.theory.all_weights import all_weights_sam_weight
from samat_mm.theory.model import FeatureModel
from samat_mm.theory.sharpness_aware import exact_sam_weight, per_sample_sam_weight
from samat_mm.theory.theorems import (
    adversarial_weight,
    sam_range,
    sam_weight_corrected,
    sam_weight_paper,
    standard_weight,
)

COLUMNS: dict[str, Callable[[FeatureModel, float], float]] = {
    'W_ST': lambda model, eps: standard_weight(model),
    'W_AT': adversarial_weight,
    'W_SAM_exact': exact_sam_weight,
    'W_SAM_paper': sam_weight_paper,
    'W_SAM_corrected': sam_weight_corrected,
    'W_SAM_all_weights': all_weights_sam_weight,
    'W_SAM_per_sample': per_sample_sam_weight,
    'eps_SAM_range': lambda model, eps: sam_range(model),
}
SHARES = (0.1, 0.2, 0.4, 0.6, 0.8)  # of the radius at which AT becomes impossible


def grid_row(model: FeatureModel, eps: float) -> dict[str, Any]:
    """Return the robust feature weights of one model and radius, None where there is no finite one.

    Raises:
        ValueError: if eps is not a finite number of at least 0.
    """
    eps = non_negative(eps, 'eps')
    values = {name: _finite(of, model, eps) for name, of in COLUMNS.items()}
    return {'p': model.p, 'eta': model.eta, 'n': model.n, 'eps': eps, **values}


def ball_rows(model: FeatureModel, shares: Sequence[float] = SHARES) -> list[dict[str, Any]]:
    """Return the exact W_R of AT in each ball, at shares of the largest radius: ``eta``, or ``eta sqrt n`` in l2."""
    rows = []
    for share in shares:
        radii = {ball: share * model.eta * (model.spread if ball.startswith('l2') else 1) for ball in INPUT_BALLS}
        values = {ball: _finite(exact_adversarial_weight, model, eps, ball) for ball, eps in radii.items()}
        rows.append({'p': model.p, 'eta': model.eta, 'n': model.n, 'share': share, **values})
    return rows


def shift_ratios(rows: Sequence[Mapping[str, Any]], formula: str) -> list[float]:
    """Return the shift ``W_SAM - W_ST`` by a formula over the exact one, for the rows within the range of theorem 4.4.

    Args:
        rows: rows of :func:`grid_row`.
        formula: name of its column.
    """
    return [
        (row[formula] - row['W_ST']) / (row['W_SAM_exact'] - row['W_ST'])
        for row in rows
        if 0 < row['eps'] <= row['eps_SAM_range']
    ]


def _finite(compute: Callable[..., float], *given: Any) -> float | None:
    """Return the value, None where the radius is out of range or no finite weight is best."""
    try:
        value = compute(*given)
    except InputError:
        return None
    return value if math.isfinite(value) else None
