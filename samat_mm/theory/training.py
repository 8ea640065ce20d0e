"""Train the linear classifier of the theory on samples, with the package's own SAM and PGD."""

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Rprop

from samat_mm.errors import InputError
from samat_mm.perturbations.checks import whole_number
from samat_mm.perturbations.inputs import Attack, Problem
from samat_mm.perturbations.weights import SAM, WeightPerturbation, perturbed_step
from samat_mm.theory.model import Data, FeatureModel

DRAWN = 0.5  # share of the variance of the non-robust features that samples have; the loss integrates over the rest
SETTLED = 0.01  # largest step at the end, in units of w_1


class LinearClassifier(nn.Module):
    """``w x`` with a trained w_1, at first 0, and ``w_2 = .. = w_(n+1) = 1``."""

    others: Tensor

    def __init__(self, n: int) -> None:
        super().__init__()
        self.robust = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.register_buffer('others', torch.ones(n, dtype=torch.float64))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return ``w x``, shape (N,), for inputs (N, n + 1)."""
        return inputs[:, 0] * self.robust + inputs[:, 1:] @ self.others

    def logits(self, inputs: Tensor) -> Tensor:
        """Return the logits (N, 2) of the labels -1 and 1, for attacks."""
        scores = self(inputs)
        return torch.stack([-scores, scores], 1)

    def error(self, data: Data) -> Tensor:
        """Return the probability of a wrong prediction, over the part of the noise that the samples do not have.

        Its mean over samples is the expected 0-1 loss of the theory, for every w and under every attack, and unlike the
        0-1 loss of the samples it has a gradient.
        """
        noise = math.sqrt(1 - DRAWN) * self.others.norm()
        return torch.special.ndtr(-data.labels * self(data.inputs) / noise).mean()


@dataclass(frozen=True)
class Estimate:
    """The mean over independent data sets, and its standard error."""

    mean: float
    standard_error: float

    @classmethod
    def of(cls, values: list[float]) -> 'Estimate':
        """Return the estimate of several values."""
        return cls(statistics.mean(values), statistics.stdev(values) / math.sqrt(len(values)))


@dataclass(frozen=True)
class Recipe:
    """What a training perturbs.

    Args:
        method: from the function that computes the loss to the weight perturbation; the default is none.
        attack: the attack on the non-robust features, at every step anew; None for clean samples.
    """

    method: Callable[[Callable[[], Tensor]], WeightPerturbation] = lambda loss_fn: SAM(0.0)
    attack: Attack | None = None


@dataclass(frozen=True)
class Training:
    """How a classifier is trained: on all samples at once, by resilient backpropagation, which needs no learning rate.

    Args:
        samples: number of samples of a data set.
        data_sets: number of independent data sets.
        steps: number of steps.
        seed: seed of the first data set; the next ones follow.

    Raises:
        ValueError: if there are fewer than two data sets, or any of the other numbers is below 1.
    """

    samples: int = 5000
    data_sets: int = 12
    steps: int = 40
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ('samples', 'data_sets', 'steps'):
            whole_number(getattr(self, name), name)
        if self.data_sets == 1:
            raise InputError('data_sets must be at least 2, for a standard error; got 1.')

    def weights(self, model: FeatureModel, recipe: Recipe) -> list[float]:
        """Return the trained W_R for each data set; all recipes get the same data.

        Raises:
            ValueError: if w_1 still takes large steps at the end.
        """
        seeds = range(self.seed, self.seed + self.data_sets)
        return [self._train(model.sample(self.samples, seed, DRAWN), recipe) for seed in seeds]

    def _train(self, data: Data, recipe: Recipe) -> float:
        classifier, shown = LinearClassifier(data.inputs.shape[1] - 1), data

        def loss_fn() -> Tensor:
            return classifier.error(shown)

        optimizer = Rprop(classifier.parameters(), lr=1.0, step_sizes=(0.0, 10.0))
        method = recipe.method(loss_fn).start()
        for step in range(self.steps):
            shown = data if recipe.attack is None else attacked(classifier, data, recipe.attack)
            perturbed_step(method, loss_fn, classifier, optimizer, step)
        weight, length = classifier.robust.item(), optimizer.state[classifier.robust]['step_size'].item()
        if length > SETTLED * abs(weight):
            raise InputError(
                f'after {self.steps} steps, w_1 = {weight:.4g} still takes steps of {length:.2g}; give more steps, or '
                'more samples if these few have no minimum.'
            )
        return weight / len(classifier.others)


def attacked(classifier: LinearClassifier, data: Data, attack: Attack) -> Data:
    """Return the samples with their non-robust features attacked."""
    robust, others = data.inputs[:, :1], data.inputs[:, 1:]
    problem = Problem(
        lambda changed: classifier.logits(torch.cat([robust, changed], 1)), others, (data.labels > 0).long(), box=None
    )
    return Data(torch.cat([robust, attack.search(problem).images], 1), data.labels)
