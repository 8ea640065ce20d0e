"""The calibration error is that of its definition, on images and on pixels, alone and in a test under attack."""

import json
import math

import numpy as np
import pytest
import torch
from helpers import ROOT, classification_sample, labels, segmentation_sample
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner
from mmengine.structures import PixelData

from samat_mm.api.evaluation import evaluate
from samat_mm.evaluation.calibration_error import CalibrationError
from samat_mm.evaluation.image_score import ImageScore, metric_results
from samat_mm.evaluation.image_score import evaluate as metrics_of
from samat_mm.evaluation.terminal import print_report
from samat_mm.visualization.html_report import write_html


def classified(probabilities, label):
    scores = torch.as_tensor(probabilities, dtype=torch.float32)
    return classification_sample(label).set_pred_score(scores).set_pred_label(scores.argmax(0, keepdim=True))


def segmented(logits, label, decision=None):
    sample = segmentation_sample(label)
    decision = logits.argmax(0) if decision is None else decision
    sample.set_data({'seg_logits': PixelData(data=logits), 'pred_sem_seg': PixelData(data=decision[None].long())})
    return sample


def random_images(count, classes=10, seed=0):
    """Confidences everywhere in (1 / classes, 1), and labels that are right more or less often."""
    numbers = torch.Generator().manual_seed(seed)
    sharpness = torch.linspace(0.1, 8, count)[:, None]
    scores = (sharpness * torch.randn(count, classes, generator=numbers)).softmax(1)
    truth = torch.where(torch.rand(count, generator=numbers) < 0.6, scores.argmax(1), 3)
    return [classified(row, int(label)) for row, label in zip(scores, truth, strict=True)]


def measured(samples, batch=None, **settings):
    metric, batch = CalibrationError(**settings), batch or len(samples)
    evaluator = Evaluator(metric)
    for start in range(0, len(samples), batch):
        evaluator.process(samples[start : start + batch])
    return evaluator.evaluate(len(samples))


def by_definition(confidence, right, bins):
    """Equation 3 of Guo et al., one interval after the other."""
    confidence, right, error = np.asarray(confidence, np.float64), np.asarray(right, np.float64), 0.0
    for number in range(1, bins + 1):
        inside = ((number - 1) / bins < confidence) & (confidence <= number / bins)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return {'calibration/ECE': 100 * error, 'calibration/confidence': 100 * confidence.mean()}


@pytest.mark.parametrize('bins', [1, 4, 15])
def test_images_by_the_definition(bins):
    samples = random_images(300)
    confidence = [float(sample.pred_score.max()) for sample in samples]
    right = [int(sample.pred_score.argmax()) == int(sample.gt_label) for sample in samples]
    assert measured(samples, bins=bins) == pytest.approx(by_definition(confidence, right, bins), abs=1e-9)
    assert measured(samples)['calibration/ECE'] > 1


def test_pixels_by_the_definition_without_the_ignored_ones():
    numbers, samples, confidence, right = torch.Generator().manual_seed(0), [], [], []
    for number in range(3):
        logits = 2 * torch.randn(4, 6 + number, 7, generator=numbers)
        label = labels(6 + number, 7, classes=4, seed=number)
        label[:2] = 255
        samples.append(segmented(logits, label))
        highest = logits.softmax(0).max(0)
        counted = label != 255
        confidence += highest.values[counted].tolist()
        right += (highest.indices == label)[counted].tolist()
    assert len(right) == 7 * (4 + 5 + 6)
    assert measured(samples) == pytest.approx(by_definition(confidence, right, 15), abs=1e-9)
    assert measured(samples, ignore_index=0) != measured(samples)


def test_a_calibrated_model_has_no_error():
    certain = [0.75, 0.25]
    samples = [classified(certain, label) for label in (0, 0, 0, 1)]
    assert measured(samples) == pytest.approx({'calibration/ECE': 0.0, 'calibration/confidence': 75.0})
    assert measured([*samples, classified([1.0, 0.0], 0)])['calibration/ECE'] == pytest.approx(0.0)


def test_wrong_with_all_confidence_is_an_error_of_100():
    samples = [classified([1.0, 0.0], 1) for _ in range(5)]
    assert measured(samples) == {'calibration/ECE': 100.0, 'calibration/confidence': 100.0}


def test_a_limit_of_bins_belongs_to_the_lower_one():
    """Confidence 0.5, right, and 0.25 above, wrong: apart with two bins, where the errors do not cancel."""
    samples = [classified([0.5, 0.5], 0), classified([0.75, 0.25], 1)]
    assert measured(samples, bins=2)['calibration/ECE'] == pytest.approx(100 * (0.5 + 0.75) / 2)
    assert measured(samples, bins=1)['calibration/ECE'] == pytest.approx(100 * abs(0.5 - 0.625))


@pytest.mark.parametrize('batch', [1, 7])
def test_batches_do_not_matter(batch):
    samples = random_images(50)
    assert measured(samples, batch) == measured(samples)


def test_one_score_decides_between_two_classes_by_the_models_threshold():
    """The confidence is that in the chosen class, even where the other one is more probable."""
    likely = classification_sample(1).set_pred_score(torch.tensor([0.4])).set_pred_label(1)
    assert measured([likely]) == pytest.approx({'calibration/ECE': 60.0, 'calibration/confidence': 40.0})
    foreground = torch.tensor([[[0.4, 0.9, 0.1]]])
    sample = segmented(foreground, torch.tensor([[1, 0, 0]]), decision=torch.tensor([[1, 1, 0]]))
    confidence, right = [0.4, 0.9, 0.9], [1, 0, 1]
    assert measured([sample]) == pytest.approx(by_definition(confidence, right, 15), abs=1e-5)


def test_no_pixel_that_counts_has_no_calibration():
    sample = segmented(torch.zeros(2, 3, 3), torch.full((3, 3), 255))
    assert all(math.isnan(value) for value in measured([sample]).values())
    half = segmented(torch.tensor([5.0, 0.0]).view(2, 1, 1).expand(2, 3, 3), torch.zeros(3, 3).long())
    assert measured([sample, half]) == measured([half])


def test_an_image_keeps_the_sums_of_its_bins_only():
    evaluator = Evaluator(CalibrationError())
    samples = [segmented(torch.randn(4, 40, 50), labels(40, 50, classes=4)) for _ in range(3)]
    kept = [metric_results(evaluator, {}, sample) for sample in samples]
    assert all(result[0][0].shape == (3, 15) and result[0][0][0].sum() == 2000 for result in kept)
    assert metrics_of(evaluator, [ImageScore(results) for results in kept]) == measured(samples)


def multi_label():
    sample = classification_sample(0).set_pred_score(torch.tensor([0.9, 0.8, 0.1])).set_pred_label([0, 1])
    return sample.set_gt_label([0, 1])


@pytest.mark.parametrize(
    ('sample', 'words'),
    [
        (multi_label(), r'needs one label .* sum to 1; got 2, 2 and 1\.8 for an image\.'),
        (classified([0.9, 0.8, 0.1], 0), r'got 1, 1 and 1\.8 for an image'),
        (classification_sample(0), 'an image lacks pred_score'),
        (classification_sample(0, img_path='a.png').set_pred_label(1), 'a.png lacks pred_score'),
        (segmentation_sample(torch.zeros(2, 2)), 'needs the seg_logits of a segmentor'),
        (segmented(torch.zeros(2, 3, 3), torch.zeros(4, 3)), r'are \(3, 3\) .*, and the labels \(4, 3\)'),
        (segmented(torch.full((2, 3, 3), math.nan), torch.zeros(3, 3)), 'not finite'),
    ],
)
def test_what_has_no_calibration_is_refused(sample, words):
    with pytest.raises((ValueError, FloatingPointError), match=words):
        measured([sample])


@pytest.mark.parametrize('bins', [0, 1.5, True])
def test_bins_are_a_whole_number(bins):
    with pytest.raises(ValueError, match='bins of CalibrationError must be a whole number of at least 1; got'):
        CalibrationError(bins=bins)


def test_a_test_reports_it_clean_and_under_attack(tmp_path, capsys):
    """From the config to the JSON, the terminal and the page, next to the accuracy."""
    config = Config.fromfile(ROOT / 'configs/smallcnn_handwriting_sgd.py')
    config.work_dir, config.log_level, config.train_cfg.max_epochs = str(tmp_path / 'work'), 'ERROR', 3
    config.randomness = dict(seed=0)
    Runner.from_cfg(config.copy()).train()
    config.test_evaluator = [dict(type='Accuracy'), dict(type='CalibrationError')]
    attack = dict(type='PGD', norm='linf', eps=0.1, steps=5)
    report = evaluate(config, str(tmp_path / 'work/epoch_3.pth'), [attack], max_samples=100).document
    results = json.loads(json.dumps(report))['results']
    assert [list(values)[:3] for values in results.values()] == 2 * [
        ['accuracy/top1', 'calibration/ECE', 'calibration/confidence']
    ]
    clean, attacked = results['clean'], results['pgd-linf']
    assert clean['accuracy/top1'] > 50 > attacked['accuracy/top1']
    gap = attacked['calibration/confidence'] - attacked['accuracy/top1']
    assert attacked['calibration/ECE'] >= abs(gap) - 1e-6 and gap > 0  # it is wrong and still confident
    assert attacked['calibration/ECE'] > clean['calibration/ECE'] > 0
    print_report(report)
    printed = capsys.readouterr().out
    assert 'ECE' in printed and f'{attacked["calibration/ECE"]:.2f}' in printed
    write_html(report, tmp_path / 'report.html')
    page = (tmp_path / 'report.html').read_text()
    assert f'accuracy/top1 {clean["accuracy/top1"]:.2f} on 100 clean images' in page
    assert '>calibration/<wbr>ECE<' in page and f'{clean["calibration/ECE"]:.2f}' in page
