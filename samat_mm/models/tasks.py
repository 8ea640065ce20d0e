"""What logits and labels are, for segmentors and for classifiers.

The task is read off the labels that the data samples carry, so that any model of mmsegmentation and mmpretrain is
served, and any other that keeps their conventions. Forwards go past the hooks of the outermost module: a training
hook or a capture that listens there must not hear an attack.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samat_mm.errors import InputError
from samat_mm.perturbations.inputs.objectives import IGNORED_LABEL

SEVERAL_LABELS = "cross-entropy attacks need one label per image; these have several. Use objective='model-loss'."


class Task(ABC):
    """How to get from a model and its data samples to differentiable logits and their target."""

    @abstractmethod
    def target(self, model: nn.Module, samples: Sequence[Any], device: torch.device) -> Tensor:
        """Return the labels: (N,), class probabilities (N, K), or (N, H, W) with 255 ignored."""

    @abstractmethod
    def logits(self, model: nn.Module, inputs: Tensor, samples: Sequence[Any]) -> Tensor:
        """Return logits (N, K) or (N, K, H, W), the latter at the labels' resolution."""

    @abstractmethod
    def in_training_geometry(self, samples: Sequence[Any], inputs: Tensor) -> list[Any]:
        """Return samples whose labels have the resolution of the network's input, as in training."""


class Segmentation(Task):
    """Segmentors: the logits are those that ``predict`` takes its arg max of, in whole or sliding inference."""

    def target(self, model: nn.Module, samples: Sequence[Any], device: torch.device) -> Tensor:
        """Return the label maps, padded with 255 to a common size, shape (N, H, W)."""
        maps = [sample.gt_sem_seg.data.squeeze(0).long() for sample in samples]
        ignored = getattr(getattr(model, 'decode_head', None), 'ignore_index', IGNORED_LABEL)
        target = pad_to_common_size(maps, IGNORED_LABEL).to(device)
        return target.masked_fill(target == ignored, IGNORED_LABEL)

    def logits(self, model: nn.Module, inputs: Tensor, samples: Sequence[Any]) -> Tensor:
        """Return the scores of ``predict`` at the labels' native resolution, shape (N, K, H, W)."""
        bare = [type(sample)(metainfo=sample.metainfo) for sample in samples]
        results = model.forward(inputs, bare, mode='predict')
        logits = pad_to_common_size([result.seg_logits.data for result in results], 0)
        if logits.shape[1] == 1:  # a binary head: predict gives the foreground's probability
            foreground = torch.logit(logits, eps=1e-6)
            logits = torch.cat([torch.zeros_like(foreground), foreground], dim=1)
        return logits

    def in_training_geometry(self, samples: Sequence[Any], inputs: Tensor) -> list[Any]:
        """Return samples that say: nothing was resized, flipped or padded, for labels are at the input's size."""
        size = tuple(inputs.shape[2:])
        geometry = {
            'ori_shape': size,
            'img_shape': size,
            'pad_shape': size,
            'padding_size': [0] * 4,
            'img_padding_size': [0] * 4,
            'flip': False,
        }
        return [_with_metainfo(sample, geometry) for sample in samples]


class Classification(Task):
    """Image classifiers: the logits are the model's output in tensor mode, before the softmax of ``predict``."""

    def target(self, model: nn.Module, samples: Sequence[Any], device: torch.device) -> Tensor:
        """Return the labels (N,), or the class probabilities (N, K) that label mixing leaves.

        Raises:
            ValueError: if an image has several labels.
        """
        if all('gt_score' in sample for sample in samples):
            scores = torch.stack([sample.gt_score for sample in samples]).float().to(device)
            if not torch.allclose(scores.sum(1), torch.ones_like(scores[:, 0])):
                raise InputError(SEVERAL_LABELS)
            return scores
        labels = [torch.as_tensor(sample.gt_label).reshape(-1) for sample in samples]
        if any(len(label) != 1 for label in labels):
            raise InputError(SEVERAL_LABELS)
        return torch.cat(labels).long().to(device)

    def logits(self, model: nn.Module, inputs: Tensor, samples: Sequence[Any]) -> Tensor:
        """Return the classification scores, shape (N, K).

        Raises:
            ValueError: if tensor mode gives no such scores.
        """
        output = model.forward(inputs, mode='tensor')
        if not isinstance(output, Tensor) or output.ndim != 2:
            raise InputError(
                f"{type(model).__name__} gives no logits (N, K) in mode='tensor'; use objective='model-loss'."
            )
        return output

    def in_training_geometry(self, samples: Sequence[Any], inputs: Tensor) -> list[Any]:
        """Return the samples: a label of an image has no geometry."""
        return list(samples)


def task_of(samples: Sequence[Any] | None, model: nn.Module) -> Task:
    """Return the task that the labels of the samples show.

    Raises:
        ValueError: if there are neither label maps nor class labels.
    """
    if samples and all('gt_sem_seg' in sample for sample in samples):
        return Segmentation()
    if samples and all('gt_label' in sample or 'gt_score' in sample for sample in samples):
        return Classification()
    raise InputError(
        f'{type(model).__name__} comes with samples that have neither gt_sem_seg nor gt_label, so cross-entropy has '
        "no target; use an attack with objective='model-loss', which maximises the model's own training loss."
    )


def pad_to_common_size(maps: Sequence[Tensor], value: float) -> Tensor:
    """Stack tensors of shape (..., H, W), padding to the right and below where their sizes differ."""
    height, width = (max(entry.shape[axis] for entry in maps) for axis in (-2, -1))
    return torch.stack(
        [F.pad(entry, (0, width - entry.shape[-1], 0, height - entry.shape[-2]), value=value) for entry in maps]
    )


def _with_metainfo(sample: Any, geometry: dict[str, Any]) -> Any:
    changed = sample.new()
    changed.set_metainfo(geometry)
    return changed
