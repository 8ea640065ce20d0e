"""How far a prediction is from that of the clean image."""

import torch
from torch import Tensor

from samat_mm.errors import InputError
from samat_mm.perturbations.inputs.objectives.base import Objective, check_shapes
from samat_mm.perturbations.inputs.objectives.cross_entropy import mean_over_labels


class KullbackLeibler(Objective):
    """Kullback-Leibler divergence ``KL(p(clean) || p(output))`` in nats, averaged over the pixels that have a label.

    Labels tell which pixels count and nothing else. It belongs to one batch, whose clean logits it holds, and is
    differentiable in these too.

    Source: Zhang et al., Theoretically Principled Trade-off between Robustness and Accuracy, ICML 2019, equation 5 with
    the divergence of the authors' code.

    Args:
        clean: logits of the unchanged images, shape (N, K) or (N, K, H, W).
    """

    name = 'kullback-leibler'
    output = 'logits'

    def __init__(self, clean: Tensor) -> None:
        self.log_probabilities = _log_softmax(clean)

    def __call__(self, output: Tensor, target: Tensor | None, step: int, steps: int) -> Tensor:
        """Return the divergence per sample, shape (N,).

        Raises:
            ValueError: if logits and target do not fit together.
        """
        if target is None:
            raise InputError('kullback-leibler needs a target, whose labels tell which pixels count; got none.')
        if step == 0:
            check_shapes(output, target)
        # In logarithms throughout: the gradient of p log p is infinite where a probability is 0.
        ratio = self.log_probabilities - _log_softmax(output)
        divergence = (self.log_probabilities.exp() * ratio).sum(1)
        return divergence if output.ndim == 2 else mean_over_labels(divergence, target)


def _log_softmax(logits: Tensor) -> Tensor:
    return logits.log_softmax(1, dtype=torch.promote_types(logits.dtype, torch.float32))
