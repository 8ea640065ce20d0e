"""The distance of a prediction from the prediction for the clean image."""

import torch
from torch import Tensor

from samat_mm.perturbations.inputs.objectives.base import Objective, Target
from samat_mm.perturbations.inputs.objectives.cross_entropy import mean_over_labels


class KullbackLeibler(Objective):
    """Kullback-Leibler divergence ``KL(p(clean) || p(output))`` in nats, averaged over the pixels that have a label.

    Labels only tell which pixels count. The objective belongs to one batch, whose clean logits it holds, and is
    differentiable in them too.

    Source: Zhang et al., Theoretically Principled Trade-off between Robustness and Accuracy, ICML 2019, equation 5 with
    the divergence of the authors' code.

    Args:
        clean: logits of the unchanged images, shape (N, K) or (N, K, H, W).
    """

    name = 'kullback-leibler'

    def __init__(self, clean: Tensor) -> None:
        self.log_probabilities = _log_softmax(clean)

    def losses(self, output: Tensor, target: Target, progress: float) -> Tensor:
        """Return the divergence per sample, shape (N,)."""
        # In logarithms throughout: the gradient of p log p is infinite where a probability is 0.
        ratio = self.log_probabilities - _log_softmax(output)
        divergence = (self.log_probabilities.exp() * ratio).sum(1)
        return divergence if output.ndim == 2 else mean_over_labels(divergence, target)


def _log_softmax(logits: Tensor) -> Tensor:
    return logits.log_softmax(1, dtype=torch.promote_types(logits.dtype, torch.float32))
