"""How mmsegmentation and mmpretrain models turn scores into a decision."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

TEMPERATURE_TOLERANCE = 0.02  # relative; predictions may be in half precision
CERTAIN = 1e-6  # probabilities closer to 0 or 1 than this are clamped to it


def final_head(model: nn.Module | None, name: str) -> Any:
    """Return the deciding head: the last one of a cascade, at any nesting; None if the model has none.

    Args:
        model: the model, a wrapper around it, or None.
        name: name of the attribute that holds the head or heads, 'decode_head' or 'head'.
    """
    modules = () if model is None else model.modules()
    head = next((found for module in modules if (found := getattr(module, name, None)) is not None), None)
    while isinstance(head, (nn.ModuleList, nn.Sequential, list, tuple)) and len(head):
        head = head[-1]
    return head


def as_two_classes(logits: Tensor, threshold: float) -> Tensor:
    """Return the two logits ``[0, z - log(t / (1 - t))]`` of each single logit z, along dimension 1.

    Their arg max is 1 exactly where ``sigmoid(z) > t``.

    Args:
        logits: z, shape (N, 1, ...).
        threshold: t, in (0, 1).
    """
    likely = min(max(threshold, CERTAIN), 1 - CERTAIN)
    return torch.cat([torch.zeros_like(logits), logits - math.log(likely / (1 - likely))], dim=1)


def from_probabilities(probabilities: Tensor, threshold: float) -> Tensor:
    """Return the same two logits from ``sigmoid(z)``, within the limits of single precision."""
    return as_two_classes(torch.logit(probabilities.double(), eps=CERTAIN), threshold).to(probabilities)


@contextmanager
def deciding_between_two(model: Any, threshold: float | None) -> Iterator[None]:
    """Make a segmentor with one output channel decide between two classes, from logits before the sigmoid.

    Inside the block ``predict`` resizes and returns :func:`as_two_classes` of its logits.

    Args:
        model: the segmentor.
        threshold: threshold of its head; None leaves a head with one channel per class unchanged.
    """
    decide = getattr(model, 'postprocess_result', None)
    if threshold is None or decide is None:
        yield
        return

    def decide_between_two(seg_logits: Tensor, *args: Any, **kwargs: Any) -> Any:
        return decide(as_two_classes(seg_logits, threshold), *args, **kwargs)

    with _replaced(model, 'postprocess_result', decide_between_two):
        yield


def decided_scores(model: Any, inputs: Tensor, samples: list[Any]) -> Tensor:
    """Return the scores from which a classifier's ``predict`` decides, shape (N, K).

    For heads that combine several outputs, such as Conformer's, which adds up two branches.
    """
    caught: list[Tensor] = []

    def catch(scores: Tensor, data_samples: Any = None) -> Any:
        caught.append(scores)
        return data_samples

    with _replaced(final_head(model, 'head'), '_get_predictions', catch):
        model.forward(inputs, samples, mode='predict')
    return caught[-1]


def same_up_to_temperature(probabilities: Tensor, logits: Tensor) -> bool:
    """Tell whether probabilities are the softmax of the logits times one common factor.

    Args:
        probabilities: shape (N, K), in double precision; underflowed values are ignored.
        logits: shape (N, K), in double precision.
    """
    kept = probabilities > CERTAIN
    counts = kept.sum(1, keepdim=True).clamp_min(1)
    predicted = torch.where(kept, probabilities.clamp_min(CERTAIN).log(), 0)
    expected = torch.where(kept, logits, 0)
    predicted, expected = (
        torch.where(kept, value - value.sum(1, keepdim=True) / counts, 0) for value in (predicted, expected)
    )
    factor = (predicted * expected).sum() / expected.square().sum().clamp_min(torch.finfo(expected.dtype).tiny)
    tolerance = TEMPERATURE_TOLERANCE * predicted.abs().amax().clamp_min(1)
    return bool(((predicted - factor * expected).abs() <= tolerance).all())


def tensor_scores(model: Any, inputs: Tensor, samples: list[Any]) -> Any:
    """Return a classifier's output in tensor mode, shape (N, K): the scores before the softmax of ``predict``."""
    return model.forward(inputs, mode='tensor')


def combines_outputs(head: Any) -> bool:
    """Tell whether an mmpretrain head computes its scores in its own ``predict``."""
    plain = next((base for base in type(head).__mro__ if base.__name__ == 'ClsHead'), None)
    own = getattr(type(head), 'predict', None)
    return hasattr(head, '_get_predictions') and own is not None and own is not getattr(plain, 'predict', None)


@contextmanager
def _replaced(owner: Any, name: str, method: Any) -> Iterator[None]:
    """Replace a method of an object inside the block."""
    own = vars(owner).get(name)
    vars(owner)[name] = method
    try:
        yield
    finally:
        del vars(owner)[name]
        if own is not None:
            vars(owner)[name] = own
