"""One image at a time, the numbers are those of the data set's metrics."""

import math

import numpy as np
import pytest
import torch
from helpers import classification_sample, labels, segmentation_sample
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData
from torch.nn import functional as F

from samat_mm.evaluation.image_score import ImageScore, evaluate, judge, metric_results, per_class, tables
from samat_mm.tasks import Classification, Segmentation, task_of

CLASSES = 5


def predicted_map(seed, ignored=255, size=(6, 7)):
    """A segmentor's prediction with its label map, two rows of which are ignored."""
    numbers = torch.Generator().manual_seed(seed)
    label = labels(*size, classes=CLASSES - 1, seed=seed)
    label[:2] = ignored
    sample = segmentation_sample(label)
    logits = torch.randn(CLASSES, *size, generator=numbers)
    sample.set_data({'seg_logits': PixelData(data=logits), 'pred_sem_seg': PixelData(data=logits.argmax(0)[None])})
    return sample


def predicted_label(seed, label):
    numbers = torch.Generator().manual_seed(seed)
    scores = torch.randn(CLASSES, generator=numbers).softmax(0)
    return classification_sample(label).set_pred_score(scores).set_pred_label(scores.argmax(0, keepdim=True))


def test_a_label_map_pixel_by_pixel():
    sample = predicted_map(0)
    label, guess = sample.gt_sem_seg.data.flatten().tolist(), sample.pred_sem_seg.data.flatten().tolist()
    pairs = [(t, g) for t, g in zip(label, guess, strict=True) if t != 255]
    found = judge(task_of(None, [sample]), sample)
    assert found['wrong'] == pytest.approx(sum(t != g for t, g in pairs) / len(pairs))
    counts = [
        (k, sum(t == g == k for t, g in pairs), sum(k in pair for pair in pairs))
        for k in range(CLASSES)
        if any(k in pair for pair in pairs)
    ]
    assert found['counts'] == counts
    assert found['classes'] == CLASSES
    loss = F.cross_entropy(sample.seg_logits.data[None], sample.gt_sem_seg.data.long(), ignore_index=255)
    assert found['loss'] == pytest.approx(float(loss), rel=1e-6)


def test_another_ignored_label():
    sample = predicted_map(3, ignored=0)
    assert judge(Segmentation(ignored=0), sample)['loss'] != judge(Segmentation(), sample)['loss']
    counts = judge(Segmentation(ignored=9), predicted_map(3, ignored=9))['counts']
    assert sum(total for *_, total in counts) <= 2 * 4 * 7


def test_a_binary_map_has_the_probability_of_the_foreground():
    label = torch.tensor([[0, 1], [1, 255]])
    probability = torch.tensor([[0.2, 0.9], [0.4, 0.5]])
    sample = segmentation_sample(label)
    sample.seg_logits = PixelData(data=probability[None])
    sample.pred_sem_seg = PixelData(data=(probability > 0.5).long()[None])
    found = judge(task_of(None, [sample]), sample)
    assert found['classes'] == 2
    assert found['wrong'] == pytest.approx(1 / 3)
    assert found['counts'] == [(0, 1, 2), (1, 1, 2)]
    assert found['loss'] == pytest.approx(-(math.log(0.8) + math.log(0.9) + math.log(0.4)) / 3, rel=1e-5)


def test_a_classifiers_image():
    sample = predicted_label(0, 2)
    right = int(sample.pred_score.argmax()) == 2
    found = judge(task_of(None, [sample]), sample)
    assert found == {
        'wrong': float(not right),
        'loss': pytest.approx(-math.log(float(sample.pred_score[2]))),
        'counts': [(2, int(right), 1)],
        'classes': CLASSES,
    }
    certain = predicted_label(0, 2)
    certain.pred_score = torch.tensor([1.0, 0, 0, 0, 0])
    assert 80 < judge(Classification(), certain)['loss'] < 100  # of a probability that underflows, not infinite


def test_what_has_no_labels_of_classes_is_not_judged():
    assert judge(Segmentation(), segmentation_sample(torch.zeros(2, 2))) == {}
    several = predicted_label(0, 1)
    several.gt_label = torch.tensor([1, 2])
    assert judge(Classification(), several) == {}


@pytest.mark.parametrize('sample', [predicted_map(0), predicted_label(0, 1)], ids=['map', 'label'])
def test_a_prediction_that_is_nan_is_refused(sample):
    sample.set_metainfo({'img_path': 'folder/a.png'})
    (sample.seg_logits.data if 'seg_logits' in sample else sample.pred_score).fill_(math.nan)
    with pytest.raises(FloatingPointError, match=r'prediction for folder/a\.png is NaN'):
        judge(task_of(None, [sample]), sample)


def scores_of(samples, evaluator):
    return [
        ImageScore(metric_results(evaluator, {}, sample), **judge(task_of(None, [sample]), sample))
        for sample in samples
    ]


def test_iou_per_class_is_that_of_the_metric():
    from mmseg.evaluation import IoUMetric

    samples = [predicted_map(seed) for seed in range(4)]
    evaluator = Evaluator([IoUMetric(iou_metrics=['mIoU'])])
    evaluator.dataset_meta = {'classes': tuple('abcde')}
    scores = scores_of(samples, evaluator)
    assert all(metric.results == [] for metric in evaluator.metrics)
    values = per_class(scores)
    assert 100 * np.mean(values) == pytest.approx(evaluate(evaluator, scores)['mIoU'], abs=0.006)
    pooled = tables(scores).sum(0)
    assert pooled.shape == (2, CLASSES)
    assert values == pytest.approx((pooled[0] / pooled[1]).tolist())


def test_accuracy_per_class():
    truth = [0, 0, 1, 3, 3, 3]
    samples = [predicted_label(seed, label) for seed, label in enumerate(truth)]
    hits = [int(sample.pred_score.argmax()) == label for sample, label in zip(samples, truth, strict=True)]
    expected = [
        np.mean([hit for hit, label in zip(hits, truth, strict=True) if label == k]) if k in truth else None
        for k in range(CLASSES)
    ]
    assert per_class([ImageScore([], **judge(task_of(None, [sample]), sample)) for sample in samples]) == expected
    assert per_class([]) is None
    assert per_class([ImageScore([])]) is None
    assert per_class([ImageScore([], **judge(Classification(), samples[0])), ImageScore([])]) is None  # or half a table


def test_metrics_of_no_image_and_of_several_results():
    from mmpretrain.evaluation import Accuracy

    evaluator = Evaluator([Accuracy(), Accuracy(topk=(2,), prefix='second')])
    samples = [predicted_label(seed, seed % CLASSES) for seed in range(7)]
    metrics = evaluate(evaluator, scores_of(samples, evaluator))
    evaluator.process(samples, {})
    assert metrics == evaluator.evaluate(7)
