"""ESAM: a cheaper SAM that perturbs some of the weights and descends on some of the samples."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from samat_mm.perturbations.checks import one_of, share
from samat_mm.perturbations.weights.base import WeightPerturbation
from samat_mm.perturbations.weights.composite import Composite
from samat_mm.perturbations.weights.vectors import RandomNumbers

MASKS = ('tensors', 'coordinates')
SELECTIONS = ('forward', 'bfloat16', 'loss')


class ESAM(Composite):
    """Efficient SAM: perturb a random part of the weights, descend on the samples that this hurts most.

    ``e = (rho / beta) m * g / ||g||`` with a random mask m that is 1 with probability beta (stochastic weight
    perturbation); the second pass sees the share gamma of the samples whose loss rises most (sharpness-sensitive data
    selection). Where the model's loss is no mean over samples, all of them take part.

    The second pass sees ``round(gamma N)`` of N samples, at least two, also where rises are equal. The authors' code
    keeps those whose rise is strictly above the k-th largest, ``k = floor(gamma N)``: k - 1 samples, fewer where rises
    are equal, and none for k = 1, whose mean loss is NaN.

    Source: Du et al., Efficient Sharpness-aware Minimization for Improved Training of Neural Networks, ICLR 2022,
    algorithm 1.

    Args:
        rho: radius; None is that of the direction (0.05).
        beta: expected share of the weights that move, 0.6 as published for ResNet-18 (0.5 for larger networks).
        gamma: share of the samples in the second pass, 0.5 as published; at least two samples stay, because batch
            normalisation needs them. 1 takes all of them, without a selection.
        mask: 'tensors' draws whole tensors, as the authors' code does: the gradients of the others are not needed,
            and the norm is that of the drawn ones. 'coordinates' draws single weights, as the paper says: no gradient
            is saved.
        selection: 'forward' measures the rise by a forward of all samples at the perturbed weights, as published;
            'bfloat16' runs that forward in bfloat16; 'loss' runs none and takes the samples with the largest loss.
        direction: the ascent, SAM as published.
        seed: of the mask's random numbers, which are the same on all processes.

    Raises:
        ValueError: if a parameter is out of its range.
    """

    def __init__(
        self,
        rho: float | None = None,
        beta: float = 0.6,
        gamma: float = 0.5,
        mask: str = 'tensors',
        selection: str = 'forward',
        direction: WeightPerturbation | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(rho, direction)
        self.beta = share(beta, 'beta')
        self.gamma = share(gamma, 'gamma')
        self.mask = one_of(mask, MASKS, 'mask')
        self.selection = one_of(selection, SELECTIONS, 'selection')
        self.selects_samples = self.gamma < 1
        self.seed = seed
        self.numbers = RandomNumbers(seed)

    def choose(self, weights: Mapping[str, Tensor], owners: Mapping[str, nn.Module]) -> list[str]:
        """Draw the tensors that move, at least one."""
        names = super().choose(weights, owners)
        if self.mask != 'tensors' or self.beta == 1 or not names:
            return names
        draws = torch.rand(len(names), generator=self.numbers.on(torch.device('cpu')))
        drawn = [name for name, draw in zip(names, draws.tolist(), strict=True) if draw < self.beta]
        return drawn or [names[int(draws.argmin())]]

    def ascend(self, weights: Mapping[str, Tensor], grads: Sequence[Tensor]) -> list[Tensor]:
        """Return the direction's offsets over beta, those of undrawn coordinates 0."""
        offsets = super().ascend(weights, grads)
        if self.beta < 1:
            torch._foreach_div_(offsets, self.beta)
            if self.mask == 'coordinates':
                for offset in offsets:
                    generator = self.numbers.on(offset.device)
                    draws = torch.rand(offset.shape, generator=generator, device=offset.device)
                    offset.masked_fill_(draws >= self.beta, 0)
        return offsets

    def select(self, before: Tensor, after: Callable[[torch.dtype | None], Tensor]) -> Tensor:
        """Return the samples whose loss rises most (or is largest), in the order of the batch."""
        if self.selection == 'loss':
            scores = before
        else:
            scores = after(torch.bfloat16 if self.selection == 'bfloat16' else None) - before
        count = max(min(2, len(scores)), round(self.gamma * len(scores)))
        return torch.topk(scores, count).indices.sort().values

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the random numbers."""
        return {**super().state_dict(), **self.numbers.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state of :meth:`state_dict`."""
        super().load_state_dict(state)
        self.numbers.load_state_dict(state)
