"""Data samples and their labels: left out, named, and checked."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from samat_mm.errors import InputError


def without_labels(samples: Sequence[Any]) -> list[Any]:
    """Return data samples with the same metainfo and nothing else, for ``predict`` to write into."""
    return [type(sample)(metainfo=sample.metainfo) for sample in samples]


def name_of(sample: Any) -> str:
    """Return the file of an image, or a sentence, for errors."""
    text = sample.metainfo.get('text')
    return str(sample.metainfo.get('img_path') or (f'the sentence {text[:60]!r}' if text else 'an image'))


def refuse_unlabelled(samples: Sequence[Any], *keys: str) -> None:
    """Refuse samples without a label under any of the names.

    Raises:
        ValueError: naming the image.
    """
    for sample in samples:
        if not any(key in sample for key in keys):
            raise InputError(
                f'an attack on logits needs a label for every image, but {name_of(sample)} has no {keys[0]}; annotate '
                'it or leave it out.'
            )


def check_label(labels: Tensor, classes: int, sample: Any) -> None:
    """Refuse labels that are not classes.

    Args:
        labels: the labels that count, of any shape.
        classes: number of classes of the model.
        sample: data sample of the labels, for the error.

    Raises:
        ValueError: naming the image and the labels.
    """
    bad = labels[(labels < 0) | (labels >= classes)]
    if len(bad):
        path = sample.metainfo.get('seg_map_path')
        raise InputError(
            f'the labels of {name_of(sample)}{f" ({Path(path).name})" if path else ""} hold '
            f'{sorted(set(bad.tolist()))[:8]}, but the model has the classes 0..{classes - 1}; repair the file or the '
            'number of classes.'
        )


def cross_entropy(logits: Tensor, labels: Tensor) -> float:
    """Return the mean cross-entropy of logits (K, n) and labels (n,); 0 where there are none."""
    losses = F.cross_entropy(logits.float().T, labels, reduction='none')
    return float(losses.double().sum()) / max(1, len(labels))
