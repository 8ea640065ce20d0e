"""The calibration error of a classifier or a segmentor: how far its confidence is from its accuracy."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS
from torch import Tensor

from samat_mm.errors import InputError, NonFiniteError
from samat_mm.perturbations.inputs.objectives import IGNORED_LABEL

ROUNDING = 0.01  # of the sum of an image's probabilities, which may be in half precision
Sample = Mapping[str, Any]


@METRICS.register_module()
class CalibrationError(BaseMetric):
    """Expected calibration error (ECE) and mean confidence, in percent.

    The confidence of a decision is the probability that the model gives to the class it chose. With n decisions, sorted
    by their confidence into M bins of equal width, ((m - 1) / M, m / M],

    ``ECE = sum_m |B_m| / n * |accuracy(B_m) - confidence(B_m)|``.

    A decision is an image of a classifier, or a pixel of a segmentor; the pixels of all images are pooled. The
    probabilities of a classifier are its ``pred_score``; those of a segmentor are the softmax of its ``seg_logits``,
    or, with one channel, the probability of the foreground.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 3, with their 15 bins.

    Args:
        bins: number of bins, M.
        ignore_index: label of pixels that do not count.
        collect_device: where results of several processes are collected, 'cpu' or 'gpu'.
        prefix: prefix of the results, 'calibration' by default: 'calibration/ECE' and 'calibration/confidence'.

    Raises:
        ValueError: if ``bins`` is not a positive whole number; later, if an image has no probabilities, or no single
            label.
    """

    default_prefix = 'calibration'

    def __init__(
        self,
        bins: int = 15,
        ignore_index: int = IGNORED_LABEL,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if not isinstance(bins, int) or isinstance(bins, bool) or bins < 1:
            raise InputError(f'bins of CalibrationError must be a whole number of at least 1; got {bins!r}.')
        self.bins = bins
        self.ignore_index = ignore_index

    def process(self, data_batch: Any, data_samples: Sequence[Sample]) -> None:
        """Keep the sums over the decisions of each image by bin: their number, confidence and right ones, (3, M)."""
        for sample in data_samples:
            decisions = _of_pixels(sample, self.ignore_index) if 'gt_sem_seg' in sample else _of_image(sample)
            self.results.append(_sums(*decisions, self.bins))

    def compute_metrics(self, results: list[Tensor]) -> dict[str, float]:
        """Return ``ECE`` and ``confidence`` from the sums of all images; NaN without a decision."""
        number, confidence, right = torch.stack(results).sum(0)
        total = float(number.sum())
        if not total:
            return {'ECE': math.nan, 'confidence': math.nan}
        error = float((right - confidence).abs().sum())
        return {'ECE': 100 * error / total, 'confidence': 100 * float(confidence.sum()) / total}


def _sums(confidence: Tensor, right: Tensor, bins: int) -> Tensor:
    """Return number, confidence and right ones of decisions by bin, shape (3, bins), in double precision.

    Args:
        confidence: in [0, 1], shape (n,).
        right: whether the decision is right, shape (n,).
        bins: number of bins.

    Raises:
        FloatingPointError: if a confidence is NaN.
    """
    confidence = confidence.cpu().double()
    if not bool(confidence.isfinite().all()):
        raise NonFiniteError(
            "CalibrationError cannot sort the model's predictions by confidence, because they are not finite; check "
            'the checkpoint and the precision.'
        )
    place = (confidence * bins).ceil().long().sub(1).clamp(0, bins - 1)
    values = torch.ones_like(confidence), confidence, right.cpu().double()
    return torch.stack([torch.bincount(place, weights=value, minlength=bins) for value in values])


def _of_image(sample: Sample) -> tuple[Tensor, Tensor]:
    """Return confidence and correctness of the decision on an image, each of shape (1,)."""
    missing = [key for key in ('pred_score', 'gt_label') if key not in sample]
    if missing:
        raise InputError(
            'CalibrationError needs pred_score and gt_label of a classifier, or seg_logits and gt_sem_seg of a '
            f'segmentor; {_name_of(sample)} lacks {" and ".join(missing)}. Take another metric for this model.'
        )
    scores, label = sample['pred_score'].reshape(-1), torch.as_tensor(sample['gt_label']).reshape(-1)
    if len(scores) == 1:
        scores = torch.cat([1 - scores, scores])
    chosen = torch.as_tensor(sample.get('pred_label', scores.argmax())).reshape(-1)
    total = float(scores.double().sum())
    if len(label) != 1 or len(chosen) != 1 or abs(total - 1) > ROUNDING:
        raise InputError(
            'CalibrationError needs one label and one decision per image, and probabilities that sum to 1; got '
            f'{len(label)}, {len(chosen)} and {total:.3g} for {_name_of(sample)}. A model of several labels has no '
            'single confidence; take another metric for it.'
        )
    return scores[chosen.to(scores.device)], chosen.cpu() == label.cpu()


def _of_pixels(sample: Sample, ignored: int) -> tuple[Tensor, Tensor]:
    """Return confidence and correctness of the decisions on the pixels that count, each of shape (n,)."""
    if 'seg_logits' not in sample:
        raise InputError(
            f'CalibrationError needs the seg_logits of a segmentor; the prediction for {_name_of(sample)} has none. '
            'Take another metric for this model.'
        )
    scores, label = sample['seg_logits']['data'].float(), sample['gt_sem_seg']['data'].squeeze(0)
    if scores.shape[1:] != label.shape:
        raise InputError(
            f'CalibrationError needs seg_logits at the size of the labels; those of {_name_of(sample)} are '
            f'{tuple(scores.shape[1:])} (rows, columns), and the labels {tuple(label.shape)}. Load the labels after '
            'every resize of the image.'
        )
    probabilities = scores.softmax(0) if len(scores) > 1 else torch.cat([1 - scores, scores])
    chosen = sample['pred_sem_seg']['data'].squeeze(0) if 'pred_sem_seg' in sample else probabilities.argmax(0)
    confidence = probabilities.gather(0, chosen[None].long())[0]
    counted = label != ignored
    return confidence[counted], (chosen == label.to(chosen.device))[counted.to(chosen.device)]


def _name_of(sample: Sample) -> str:
    return str(sample.get('img_path') or 'an image')
