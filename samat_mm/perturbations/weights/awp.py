"""AWP: layer by layer, in proportion to the weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from samat_mm.perturbations.vectors import tensor_norms
from samat_mm.perturbations.weights.method import WeightPerturbation
from samat_mm.perturbations.weights.parts import Memory, Need, Parts, Transformation, Weights


@dataclass(frozen=True)
class AWP(WeightPerturbation):
    """Adversarial weight perturbation, ``e_l = rho ||w_l|| g_l / ||g_l||`` for each weight matrix or kernel.

    Meant for adversarial inputs: use it with ``AdversarialTrainingHook``. The optimizer steps at the perturbed weights,
    where weight decay sees them, as in the authors' code; the perturbation is taken back after the step. With gradient
    accumulation the step happens at the perturbation of the last part.

    Running statistics of batch normalisation come from the forward at the weights themselves, as for every method here:
    these are the weights that are tested and saved. In the authors' code a copy of the model finds the perturbation,
    and the model runs in training mode at the perturbed weights alone, whose statistics it keeps.

    Source: Wu et al., Adversarial Weight Perturbation Helps Robust Generalization, NeurIPS 2020.

    Args:
        rho: relative size of the perturbation of each layer (the paper's gamma), 0.005 as
            published for TRADES, which begins without it (``start_iter``); 0.01 from the beginning with PGD-AT.
    """

    rho: float = 0.005

    @cached_property
    def parts(self) -> Parts:
        """A direction for each layer, and a step at the perturbed weights."""
        return Parts(
            before=(Transformation(self.apply, self.choose),),
            needs=frozenset({Need.STEP_PERTURBED, Need.SHARED_ASCENT}),
        )

    def choose(self, weights: Weights, owners: Mapping[str, nn.Module], memory: Memory) -> list[str]:
        """Leave out biases, normalisation layers and embeddings."""
        return [name for name, weight in weights.items() if weight.ndim > 1 and 'weight' in name.rpartition('.')[2]]

    def apply(self, weights: Weights, vectors: list[Tensor], memory: Memory) -> None:
        """Give each vector the length of its weight."""
        lengths = tensor_norms([weight.detach() for weight in weights.values()])
        norms = tensor_norms(vectors)
        # One after the other: the quotient of both overflows where the gradient vanishes.
        for factors in ([norm.clamp_min(torch.finfo(torch.float32).tiny).reciprocal() for norm in norms], lengths):
            torch._foreach_mul_(vectors, [f.to(vector.dtype) for f, vector in zip(factors, vectors, strict=True)])
