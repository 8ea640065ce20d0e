"""ESAM: a cheaper SAM that perturbs some of the weights and descends on some of the samples."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from samat_mm.perturbations.checks import one_of, share
from samat_mm.perturbations.weights.built_on import BuiltOn
from samat_mm.perturbations.weights.method import parameter
from samat_mm.perturbations.weights.parts import Memory, Parts, Transformation, Weights
from samat_mm.perturbations.weights.random_numbers import RandomNumbers


@dataclass(frozen=True)
class ESAM(BuiltOn):
    """Efficient SAM: perturb a random part of the weights, descend on the samples that this hurts most.

    ``e = (rho / beta) m * g / ||g||`` with a random mask m that is 1 with probability beta (stochastic weight
    perturbation); the second pass sees the share gamma of the samples whose loss rises most (sharpness-sensitive data
    selection). Where the model's loss is not a mean over samples, all of them take part.

    The second pass sees ``round(gamma N)`` of N samples, at least two, also where rises are equal. The authors' code
    keeps those whose rise is strictly above the k-th largest, ``k = floor(gamma N)``: k - 1 samples, fewer where rises
    are equal, and none for k = 1, whose mean loss is NaN.

    Source: Du et al., Efficient Sharpness-aware Minimization for Improved Training of Neural Networks, ICLR 2022,
    algorithm 1.

    Args:
        rho: radius; None for the radius of the direction (0.05).
        beta: expected share of the weights that move, 0.6 as published for ResNet-18 (0.5 for larger networks).
        gamma: share of the samples in the second pass, 0.5 as published; at least two samples stay, because batch
            normalisation needs them. 1 takes all of them, without a selection.
        mask: 'tensors' draws whole tensors, as the authors' code does: the gradients of the others are not needed,
            and the norm runs over the drawn ones. 'coordinates' draws single weights, as the paper says: no gradient
            is saved.
        selection: 'forward' measures the rise by a forward of all samples at the perturbed weights, as published;
            'bfloat16' runs that forward in bfloat16; 'loss' runs none and takes the samples with the largest loss.
        seed: seed of the mask's random numbers, which are the same on all processes.
        direction: the ascent, SAM as published.
    """

    beta: float = parameter(0.6, share)
    gamma: float = parameter(0.5, share)
    mask: str = parameter('tensors', one_of, ('tensors', 'coordinates'))
    selection: str = parameter('forward', one_of, ('forward', 'bfloat16', 'loss'))
    seed: int = 0

    @cached_property
    def parts(self) -> Parts:
        """The mask and the selection."""
        masks = {
            'tensors': Transformation(self.enlarge, self.draw_tensors),
            'coordinates': Transformation(self.draw_coordinates),
        }
        return Parts(
            after=(masks[self.mask],) if self.beta < 1 else (),
            select=self.select if self.gamma < 1 else None,
            memory=lambda: {'numbers': RandomNumbers(self.seed)},
        )

    def draw_tensors(self, weights: Weights, owners: Mapping[str, nn.Module], memory: Memory) -> list[str]:
        """Choose each tensor with probability beta, and at least one."""
        names = list(weights)
        if not names:
            return names
        draws = torch.rand(len(names), generator=memory['numbers'].on(torch.device('cpu')))
        drawn = [name for name, draw in zip(names, draws.tolist(), strict=True) if draw < self.beta]
        return drawn or [names[int(draws.argmin())]]

    def enlarge(self, weights: Weights, vectors: list[Tensor], memory: Memory) -> None:
        """Divide by beta."""
        torch._foreach_div_(vectors, self.beta)

    def draw_coordinates(self, weights: Weights, vectors: list[Tensor], memory: Memory) -> None:
        """Divide by beta, and set each coordinate to 0 with probability 1 - beta."""
        self.enlarge(weights, vectors, memory)
        for vector in vectors:
            generator = memory['numbers'].on(vector.device)
            draws = torch.rand(vector.shape, generator=generator, device=vector.device)
            vector.masked_fill_(draws >= self.beta, 0)

    def select(self, before: Tensor, after: Callable[[torch.dtype | None], Tensor], memory: Memory) -> Tensor:
        """Return the share gamma of the samples whose loss rises most, or is largest, in the order of the batch."""
        precision = torch.bfloat16 if self.selection == 'bfloat16' else None
        scores = before if self.selection == 'loss' else after(precision) - before
        count = max(min(2, len(scores)), round(self.gamma * len(scores)))
        return torch.topk(scores, count).indices.sort().values
