"""The trainings that stand next to the optima: one row for each method and radius."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from samat_mm.perturbations.inputs import PGD
from samat_mm.perturbations.weights import SAM
from samat_mm.theory.adversarial import exact_adversarial_weight
from samat_mm.theory.model import FeatureModel
from samat_mm.theory.sharpness_aware import exact_sam_weight
from samat_mm.theory.theorems import standard_weight
from samat_mm.theory.training import Estimate, Recipe, Training
from samat_mm.theory.two_sided import TwoSidedSAM

STANDARD, ADVERSARIAL, ADVERSARIAL_L2, SHARPNESS_AWARE, ONE_SIDED = 'ST', 'AT', 'AT, l2', 'SAM', 'SAM, one side'


@dataclass(frozen=True)
class Case:
    """A training and the optimum that it approaches.

    Args:
        method: name of the method.
        eps: radius.
        optimum: exact W_R.
        recipe: what the training perturbs.
    """

    method: str
    eps: float
    optimum: float
    recipe: Recipe


def cases(model: FeatureModel) -> Iterator[Case]:
    """Yield the cases for a model: radii of AT relative to the largest possible one, and of SAM to ``sqrt n``.

    A single step of PGD over the whole radius is exact, because the margin is linear in the inputs. 'SAM, one side' is
    SAM as published, with five ascents: full batches of it end at W*.
    """
    yield Case(STANDARD, 0.0, standard_weight(model), Recipe())
    for share in (0.2, 0.4, 0.6):
        eps = share * model.eta
        yield Case(ADVERSARIAL, eps, exact_adversarial_weight(model, eps), Recipe(attack=_exact_pgd('linf', eps)))
    eps = 0.4 * model.eta * model.spread
    yield Case(ADVERSARIAL_L2, eps, exact_adversarial_weight(model, eps, 'l2'), Recipe(attack=_exact_pgd('l2', eps)))
    for share in (0.2, 0.4, 0.6, 0.8, 1.0):
        eps = share * model.spread
        yield Case(SHARPNESS_AWARE, eps, exact_sam_weight(model, eps), Recipe(_two_sided(eps)))
    eps = model.spread
    yield Case(ONE_SIDED, eps, standard_weight(model), Recipe(lambda loss_fn: SAM(eps, steps=5)))


def train(model: FeatureModel, training: Training, case: Case) -> dict[str, Any]:
    """Return the row of a case: the exact W_R, the trained one and its standard error."""
    estimate = Estimate.of(training.weights(model, case.recipe))
    return {
        'method': case.method,
        'p': model.p,
        'eta': model.eta,
        'n': model.n,
        'eps': case.eps,
        'W_exact': case.optimum,
        'W_trained': estimate.mean,
        'standard_error': estimate.standard_error,
        'samples': training.samples,
        'data_sets': training.data_sets,
        'seed': training.seed,
    }


def _exact_pgd(norm: str, eps: float) -> PGD:
    return PGD(norm=norm, eps=eps, step_size=eps, steps=1, random_start=False)


def _two_sided(eps: float) -> Any:
    return lambda loss_fn: TwoSidedSAM(eps, loss_fn)
