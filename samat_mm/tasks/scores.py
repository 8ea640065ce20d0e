"""Whether a model decides by the largest of the scores that an attack sees."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from samat_mm.errors import InputError
from samat_mm.tasks.labels import name_of

ROUNDING = 1e-4  # in units of the largest score: a smaller lead may be decided either way


def refuse_other_decisions(
    model: nn.Module, samples: Sequence[Any], logits: Iterable[Tensor], decisions: Sequence[Tensor | None]
) -> None:
    """Refuse scores whose arg max differs from the model's decision by more than rounding.

    Args:
        model: the bare model, for the error.
        samples: data samples of the images, for the error.
        logits: scores of each image, shape (K,) or (K, H, W).
        decisions: the class that the model chose for each image, shape () or (h, w); None where it chose none.

    Raises:
        ValueError: if they differ, because an attack on such logits would aim at another decision than the scored one.
    """
    compared = []
    for sample, scores, decision in zip(samples, logits, decisions, strict=True):
        if decision is not None:
            scores = scores[(slice(None), *map(slice, decision.shape))]
            chosen = decision.to(scores.device)
            compared.append((sample, scores, chosen, _differing(scores, chosen)))
    if compared and bool(torch.stack([differs.any() for *_, differs in compared]).any()):  # waits for the device once
        _refuse(model, *next(entry for entry in compared if bool(entry[-1].any())))


def _differing(scores: Tensor, chosen: Tensor) -> Tensor:
    """Return where the arg max of scores (K, ...) is clearly not the class that was chosen, shape (...)."""
    best, known = scores.max(0), chosen < len(scores)
    lead = best.values - scores.gather(0, chosen.where(known, 0)[None])[0]
    return ~known | (lead > ROUNDING * best.values.abs().clamp_min(1))


def _refuse(model: nn.Module, sample: Any, scores: Tensor, chosen: Tensor, differs: Tensor) -> None:
    raise InputError(
        f'{type(model).__name__} does not decide by the largest of its scores: for {name_of(sample)} it predicts '
        f'class {int(chosen[differs][0])} where that of class {int(scores.argmax(0)[differs][0])} is the largest. An '
        'attack on these scores would aim at another decision than the one that is scored; use '
        "objective='model-loss'."
    )
