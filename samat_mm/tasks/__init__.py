"""A model's decision on the images of a data set: logits, labels, ignored labels, and which predictions are wrong."""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from samat_mm.perturbations.inputs.objectives import IGNORED_LABEL
from samat_mm.tasks.base import Task
from samat_mm.tasks.classification import SEVERAL_LABELS, Classification
from samat_mm.tasks.decisions import combines_outputs, decided_scores, final_head, tensor_scores
from samat_mm.tasks.segmentation import Segmentation, pad_to_common_size
from samat_mm.tasks.undecided import Undecided

__all__ = ['Classification', 'Segmentation', 'Task', 'Undecided', 'pad_to_common_size', 'task_of']

NO_LABELS = 'an attack needs labels, but the samples have none; give a data set with annotations, or test without it.'
OF_SEVERAL_LABELS = {'MultiLabelClsHead', 'MultiLabelMetric', 'AveragePrecision'}  # and their subclasses


def task_of(model: nn.Module | None, samples: Sequence[Any] | None, metrics: Iterable[Any] = ()) -> Task:
    """Return the task of a model on a data set.

    Args:
        model: the bare model, or None if only the samples are known.
        samples: data samples of the data set; their labels determine the task.
        metrics: metrics of the evaluation, which define the ignored label and whether an image may have several labels;
            if there are none, the model's head defines both.
    """
    samples, metrics = samples or [], list(metrics)
    if samples and all('gt_sem_seg' in sample for sample in samples):
        return _segmentation(model, metrics)
    if samples and all('gt_label' in sample or 'gt_score' in sample for sample in samples):
        head = final_head(model, 'head')
        if any(base.__name__ in OF_SEVERAL_LABELS for part in (head, *metrics) for base in type(part).__mro__):
            return Undecided(SEVERAL_LABELS, has_labels=True)
        return _classification(head)
    if samples and all(_holds_nothing(sample) for sample in samples):
        return Undecided(NO_LABELS, has_labels=False)
    return Undecided(
        f'{type(model).__name__} comes with samples that have neither gt_sem_seg nor gt_label, so cross-entropy has '
        "no target; use an attack with objective='model-loss', which maximises the model's own training loss.",
        has_labels=True,
    )


def _holds_nothing(sample: Any) -> bool:
    return hasattr(sample, 'keys') and not list(sample.keys())


def _segmentation(model: nn.Module | None, metrics: list[Any]) -> Segmentation:
    head = final_head(model, 'decode_head')
    # The metric's ignored label counts for scores; the head's own applies to training only.
    source = next((metric for metric in metrics if hasattr(metric, 'ignore_index')), head)
    one_channel = getattr(head, 'out_channels', None) == 1
    return Segmentation(
        ignored=getattr(source, 'ignore_index', IGNORED_LABEL),
        threshold=getattr(head, 'threshold', None) if one_channel else None,
        classes=_classes_of(metrics),
    )


def _classes_of(metrics: list[Any]) -> int | None:
    """Return the number of classes of the metrics' data set, or None if the metrics do not know it."""
    metas = (getattr(metric, 'dataset_meta', None) or {} for metric in metrics)
    names = next((meta['classes'] for meta in metas if meta.get('classes')), None)
    return None if names is None else len(names)


def _classification(head: Any) -> Classification:
    threshold = getattr(head, 'threshold', None)
    return Classification(
        scores=decided_scores if combines_outputs(head) else tensor_scores,
        threshold=float(threshold) if isinstance(threshold, (int, float)) else 0.5,
    )
