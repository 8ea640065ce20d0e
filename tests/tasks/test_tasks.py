"""What a model decides: attacked, scored and drawn by one rule, whatever its head."""

import copy
import math

import numpy as np
import pytest
import torch
from helpers import (
    CLASSES,
    classification_sample,
    classifier,
    images,
    labels,
    raw_images,
    segmentation_sample,
    segmentor,
)
from hypothesis import given
from hypothesis import strategies as st
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData
from mmpretrain.structures import DataSample
from mmseg.structures import SegDataSample
from torch import nn

from samat_mm.evaluation.image_score import ImageScore, evaluate, judge, metric_results, per_class
from samat_mm.perturbations.inputs import APGD, PGD, SEA, SegPGD, Square
from samat_mm.pixels.pixel_space import PixelSpace
from samat_mm.tasks import Classification, Segmentation, Undecided, task_of
from samat_mm.tasks.decisions import as_two_classes, decided_scores, from_probabilities

SIZE = 32


def space_of(model, raw, samples, **options):
    data = model.data_preprocessor({'inputs': raw, 'data_samples': samples}, False)
    return PixelSpace(model, raw, data['inputs'], data['data_samples'], **options)


def map_samples(count, classes, ignored=None):
    samples = []
    for seed in range(count):
        label = labels(SIZE, SIZE, classes=classes, seed=seed)
        label[:, :8] = 255 if ignored is None else ignored
        samples.append(segmentation_sample(label, img_path=f'image{seed}.png'))
    return samples


# ------------------------------------------------------------------------------------------------- one channel


@given(st.floats(-30, 30), st.floats(0.01, 0.99))
def test_two_classes_for_one_logit(logit, threshold):
    z = torch.tensor([[logit]], dtype=torch.float64)
    probability = z.sigmoid()
    if abs(float(probability) - threshold) > 1e-9:
        assert int(as_two_classes(z, threshold).argmax(1)) == int(probability > threshold)
        if abs(logit) < 12:  # beyond, the probability has lost the logit
            torch.testing.assert_close(from_probabilities(probability, threshold), as_two_classes(z, threshold))


def binary_pair(threshold, factor):
    """A segmentor with one channel, and the same decision by two."""
    one = segmentor(**{'decode_head.num_classes': 2, 'decode_head.out_channels': 1, 'decode_head.threshold': threshold})
    two = segmentor(**{'decode_head.num_classes': 2})
    state = copy.deepcopy(one.state_dict())
    weight, bias = (factor * state[f'decode_head.conv_seg.{name}'] for name in ('weight', 'bias'))
    one.load_state_dict({**state, 'decode_head.conv_seg.weight': weight, 'decode_head.conv_seg.bias': bias})
    shifted = bias - math.log(threshold / (1 - threshold))
    more = {'weight': torch.cat([weight * 0, weight]), 'bias': torch.cat([bias * 0, shifted])}
    two.load_state_dict({**state, **{f'decode_head.conv_seg.{name}': value for name, value in more.items()}})
    return one, two


@pytest.mark.parametrize(('threshold', 'factor'), [(0.3, 1), (0.5, 400)], ids=['0.3', 'saturated'])
def test_a_binary_head_is_attacked_and_scored_as_two_classes(threshold, factor):
    """Also if its sigmoid is 0 or 1 to the last bit, where a gradient through it would vanish."""
    found = []
    for model in binary_pair(threshold, factor):
        space = space_of(model, raw_images(2, SIZE, SIZE), map_samples(2, 2))
        space.task.check(model, space.inputs, space.samples)
        pixels = space.attack(SegPGD('linf', '8/255', steps=3), [0, 1])
        with torch.no_grad():
            samples = [copy.deepcopy(sample) for sample in space.samples]
            results = model.forward(space.to_inputs(pixels), samples, mode='predict')
        found.append((pixels, [judge(space.task, result) for result in results]))
    (pixels, ours), (others, theirs) = found
    torch.testing.assert_close(pixels, others, rtol=0, atol=1e-6)
    assert (pixels - space.pixels).abs().max() > 7 / 255
    assert [one['counts'] for one in ours] == [one['counts'] for one in theirs]
    if factor == 1:
        assert [one['loss'] for one in ours] == pytest.approx([one['loss'] for one in theirs], rel=1e-4)


class OneLogit(nn.Module):
    """As a classifier of mmpretrain with one logit behaves: ``predict`` says 1 above a probability."""

    def __init__(self, says_yes_above=0.5):
        super().__init__()
        self.model, self.says_yes_above, self.middle = classifier(), says_yes_above, 0.0
        self.data_preprocessor = self.model.data_preprocessor
        self.eval()
        inputs = self.data_preprocessor({'inputs': raw_images(6, SIZE, SIZE)})['inputs']
        with torch.no_grad():
            self.middle = float(self.forward(inputs).median()) + 1e-3  # to predict both classes

    def forward(self, inputs, data_samples=None, mode='tensor'):
        logits = self.model.forward(inputs, mode='tensor')
        z = 20 * (logits[:, :1] - logits[:, 1:2]) - self.middle
        if mode == 'tensor':
            return z
        for sample, probability in zip(data_samples, z.sigmoid()[:, 0], strict=True):
            sample.set_pred_score(torch.stack([1 - probability, probability]))
            sample.set_pred_label(int(probability > self.says_yes_above))
        return data_samples


def answers(model, raw):
    """Samples labelled with the model's predictions."""
    space = space_of(model, raw, [classification_sample(0) for _ in raw])
    bare = [DataSample() for _ in raw]
    with torch.no_grad():
        return [classification_sample(int(one.pred_label)) for one in model.forward(space.inputs, bare, mode='predict')]


def test_one_logit_is_attacked_as_the_two_classes_it_stands_for():
    model, raw = OneLogit(), raw_images(6, SIZE, SIZE)
    samples = answers(model, raw)
    assert len({int(sample.gt_label) for sample in samples}) == 2
    space = space_of(model, raw, samples)
    space.task.check(model, space.inputs, space.samples)
    for attack in (PGD('linf', '64/255', goal='error'), Square('linf', '64/255', 200)):
        pixels = space.attack(attack, range(6))
        assert space.wrong(pixels).all()
        assert not space.wrong(space.pixels).any()
    assert space.passes.forwards < 6 * 60  # Square stops at the first error


@pytest.mark.parametrize('probability', [0.0, 1.0])
def test_a_model_that_decides_otherwise_is_refused(probability):
    model, raw = OneLogit(probability), raw_images(6, SIZE, SIZE)
    space = space_of(model, raw, [classification_sample(0, img_path='a/b.png') for _ in raw])
    with pytest.raises(ValueError, match=r'OneLogit does not decide by the largest of its scores: for a/b\.png it pre'):
        space.task.check(model, space.inputs, space.samples)


def test_scores_of_several_outputs_are_what_predict_makes_of_them():
    """mmpretrain's Conformer adds up two branches; in tensor mode it gives both."""
    from mmpretrain.models.heads import ConformerHead

    model = classifier()
    model.head = ConformerHead(CLASSES, [32, 32])
    nn.init.normal_(model.head.conv_cls_head.weight)
    nn.init.normal_(model.head.trans_cls_head.weight)
    extract = model.extract_feat
    model.extract_feat = lambda inputs: ([feature := extract(inputs)[-1], feature.flip(1)],)
    space = space_of(model.eval(), raw_images(3, SIZE, SIZE), [classification_sample(seed) for seed in range(3)])
    assert space.task.scores is decided_scores
    space.task.check(model, space.inputs, space.samples)
    assert '_get_predictions' not in vars(model.head)
    pixels = space.attack(PGD('linf', '8/255', steps=2), range(3))
    assert (pixels - space.pixels).abs().max() > 4 / 255


# --------------------------------------------------------------------------------------------- ignored labels


class Nested(nn.ModuleList):
    """Heads of heads: only the last one decides."""


def test_what_is_ignored_is_known_by_the_metric_or_else_by_the_last_head():
    from mmseg.evaluation import IoUMetric

    model, (sample,) = segmentor(**{'decode_head.ignore_index': 0}), map_samples(1, CLASSES, ignored=0)
    cascade = copy.deepcopy(model)
    cascade.decode_head = Nested([segmentor().decode_head, Nested([segmentor().decode_head, model.decode_head])])
    wrapper = nn.Sequential(model)
    for known in (model, cascade, wrapper):
        assert task_of(known, [sample]) == Segmentation(ignored=0)
    assert task_of(model, [sample], [object(), IoUMetric(ignore_index=7)]) == Segmentation(ignored=7)
    assert task_of(segmentor(**{'decode_head.ignore_index': None}), [sample]) == Segmentation(ignored=None)
    target = task_of(cascade, [sample]).target([sample], torch.device('cpu'))
    label = sample.gt_sem_seg.data
    assert torch.equal(target, label.masked_fill(label == 0, 255))


@pytest.mark.parametrize('attack', [PGD('linf', '8/255', steps=2), SEA('linf', '8/255', steps=4)], ids=['pgd', 'sea'])
def test_a_cascade_is_attacked_as_with_a_target_that_is_masked_by_hand(attack):
    model = segmentor(**{'decode_head.ignore_index': 0})
    raw, samples = raw_images(2, SIZE, SIZE), map_samples(2, CLASSES, ignored=0)
    by_hand = copy.deepcopy(samples)
    for sample in by_hand:
        sample.gt_sem_seg.data[sample.gt_sem_seg.data == 0] = 255
    cascade = copy.deepcopy(model)
    cascade.decode_head = nn.ModuleList([segmentor().decode_head, model.decode_head])
    cascade.encode_decode = model.encode_decode
    expected = space_of(segmentor(), raw, by_hand).attack(attack, [0, 1])
    assert torch.equal(space_of(cascade, raw, samples).attack(attack, [0, 1]), expected)


@pytest.mark.parametrize('ignored', [0, 255, None], ids=str)
def test_the_table_by_class_is_that_of_the_metric(ignored):
    """Also if 255 occurs in addition to the label that the metric ignores: predictions there count as predicted."""
    from mmseg.evaluation import IoUMetric

    evaluator = Evaluator([IoUMetric(ignore_index=ignored)])
    evaluator.dataset_meta = {'classes': tuple('abcd')}
    samples = []
    for seed in range(3):
        label = labels(9, 7, classes=CLASSES, seed=seed)
        label[:2], label[2:4] = 255, 0
        logits = torch.randn(CLASSES, 9, 7, generator=torch.Generator().manual_seed(seed))
        sample = segmentation_sample(label)
        sample.set_data({'seg_logits': PixelData(data=logits), 'pred_sem_seg': PixelData(data=logits.argmax(0)[None])})
        samples.append(sample)
    task = task_of(None, samples, evaluator.metrics)
    scores = [ImageScore(metric_results(evaluator, {}, one), **judge(task, one)) for one in samples]
    metrics = evaluate(evaluator, scores)
    assert 100 * np.mean([value for value in per_class(scores) if value is not None]) == pytest.approx(
        metrics['mIoU'], abs=0.006
    )
    labelled = [((one.gt_sem_seg.data != ignored) & (one.gt_sem_seg.data != 255)) for one in samples]
    wrong = [
        (one.pred_sem_seg.data != one.gt_sem_seg.data)[known] for one, known in zip(samples, labelled, strict=True)
    ]
    assert 100 - 100 * float(torch.cat(wrong).float().mean()) == pytest.approx(metrics['aAcc'], abs=0.006)


# --------------------------------------------------------------------------------------------- labels of all forms


@pytest.mark.parametrize('first', [[0], [0, 2]], ids=['one label first', 'two labels first'])
def test_several_labels_are_known_by_head_or_metric_and_not_by_the_first_image(first):
    from mmpretrain.evaluation import AveragePrecision
    from mmpretrain.models.heads import MultiLabelLinearClsHead

    model, samples = classifier(), [DataSample().set_gt_label(first), DataSample().set_gt_label([1])]
    by_metric = task_of(model, samples[:1], [AveragePrecision()])
    model.head = MultiLabelLinearClsHead(CLASSES, 32)
    by_head = task_of(model, samples[:1])
    for task in (by_metric, by_head):
        assert isinstance(task, Undecided)
        assert task.judge(samples[0].set_pred_score(torch.rand(CLASSES))) == {}
        with pytest.raises(ValueError, match='need one label per image; these have several'):
            task.fitted(PGD())
        assert task.fitted(PGD(objective='model-loss')).objective.name == 'model-loss'


def test_the_label_that_is_scored_is_attacked_and_not_a_teachers_opinion():
    """In a test; a training aims at the probabilities that it is given."""
    sample = classification_sample(1).set_gt_score(torch.tensor([0.1, 0.2, 0.6, 0.1]))
    task = task_of(classifier(), [sample])
    assert task.target([sample], torch.device('cpu')).tolist() == [1]
    assert task.training_target([sample], torch.device('cpu')).shape == (1, CLASSES)


class Adjusted(nn.Module):
    """Adds a prior, or divides by a temperature, after its logits: between them and its probabilities."""

    def __init__(self, prior, temperature=1.0):
        super().__init__()
        self.model, self.prior, self.temperature = classifier(), torch.tensor(prior), temperature
        self.data_preprocessor = self.model.data_preprocessor

    def forward(self, inputs, data_samples=None, mode='tensor'):
        logits = self.model.forward(inputs, mode='tensor')
        if mode == 'tensor':
            return logits
        for sample, scores in zip(data_samples, ((logits + self.prior) / self.temperature).softmax(1), strict=True):
            sample.set_pred_score(scores).set_pred_label(scores.argmax())
        return data_samples


def test_probabilities_of_other_scores_are_refused_even_where_all_labels_agree():
    """Attacks aim at the probabilities that metrics read; a temperature does not change a decision."""
    raw, prior = raw_images(2, SIZE, SIZE), [1e-2, 0.0, 0.0, -1e-2]
    for model, refused in ((Adjusted([0.0] * 4, 3.0), False), (Adjusted([10 * part for part in prior]), True)):
        space = space_of(model.eval(), raw, [classification_sample(0) for _ in raw])
        if refused:
            with pytest.raises(ValueError, match=r'probabilities \(pred_score\) that Adjusted predicts do not follow'):
                space.task.check(model, space.inputs, space.samples)
        else:
            space.task.check(model, space.inputs, space.samples)


def test_a_head_whose_threshold_is_something_else():
    """ArcFace's is a tensor of angles."""
    model = classifier()
    model.head.register_buffer('threshold', torch.zeros(CLASSES))
    assert task_of(model, [classification_sample(0)]).threshold == 0.5


def test_more_classes_than_the_ignored_label_has_room_for():
    model = segmentor(**{'decode_head.num_classes': 300, 'decode_head.ignore_index': 1000})
    space = space_of(model, raw_images(1, SIZE, SIZE), [segmentation_sample(torch.full((SIZE, SIZE), 255))])
    with pytest.raises(ValueError, match='EncoderDecoder has 300 classes, and attacks on segmentors ignore'):
        space.attack(PGD(steps=1), [0])
    sample = segmentation_sample(torch.full((1, 2), 255))
    logits = torch.nn.functional.one_hot(torch.tensor([[255, 3]]), 300).permute(2, 0, 1).float()
    sample.set_data({'seg_logits': PixelData(data=logits), 'pred_sem_seg': PixelData(data=logits.argmax(0)[None])})
    assert space.task.judge(sample)['counts'] == [(3, 0, 1), (255, 1, 2)]


def test_classes_that_the_data_set_does_not_have_are_not_counted():
    """The mean over the table is the mIoU of the metric, which knows the classes of the data set."""
    sample = map_samples(1, 2)[0]
    logits = torch.randn(CLASSES, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    sample.set_data({'seg_logits': PixelData(data=logits), 'pred_sem_seg': PixelData(data=logits.argmax(0)[None])})
    found = Segmentation(classes=2).judge(sample)
    assert found['classes'] == 2
    assert [number for number, *_ in found['counts']] == [0, 1]
    assert found['counts'] == Segmentation().judge(sample)['counts'][:2]


def test_labels_that_a_mixing_preprocessor_writes_as_probabilities_are_labels():
    mixing = dict(num_classes=CLASSES, to_onehot=True)
    plain, mixed = classifier(), classifier(mixing)
    raw, truth = raw_images(4, SIZE, SIZE), [0, 1, 2, 3]
    found = []
    for model in (plain, mixed):
        space = space_of(model, raw, [classification_sample(label) for label in truth])
        found.append((space.attack(APGD('linf', '8/255', 5, goal='error'), range(4)), space.passes))
    (expected, before), (pixels, after) = found
    assert torch.equal(pixels, expected)
    assert after == before  # the goal is not lost: images that are wrong are left out
    half = DataSample().set_gt_score(torch.tensor([0.5, 0.5, 0, 0]))
    assert Classification().target([half], torch.device('cpu')).is_floating_point()  # it has no other label


def test_the_goal_of_an_attack_is_what_can_be_reached():
    attack = PGD(goal='error')
    assert Classification().fitted(attack) is attack
    assert 'goal' not in Segmentation().fitted(attack).describe()
    assert attack.goal == 'error'


def test_a_label_without_a_class_is_named():
    sample = segmentation_sample(torch.full((2, 2), 9), img_path='a/x.jpg', seg_map_path='b/x.png')
    logits = torch.zeros(CLASSES, 2, 2)
    sample.set_data({'seg_logits': PixelData(data=logits), 'pred_sem_seg': PixelData(data=logits.argmax(0)[None])})
    with pytest.raises(
        ValueError, match=r'labels of a/x\.jpg \(x\.png\) hold \[9\], but the model has the classes 0\.\.3'
    ):
        judge(Segmentation(), sample)
    image = classification_sample(7, img_path='y.jpg').set_pred_score(torch.ones(CLASSES) / CLASSES)
    with pytest.raises(ValueError, match=r'labels of y\.jpg hold \[7\]'):
        judge(Classification(), image)


@pytest.mark.parametrize('empty', [SegDataSample(), DataSample()], ids=['maps', 'classes'])
@pytest.mark.parametrize('objective', ['cross-entropy', 'model-loss'])
def test_without_labels_there_is_nothing_to_attack(empty, objective):
    with pytest.raises(ValueError, match='an attack needs labels, but the samples have none'):
        task_of(classifier(), [empty]).fitted(PGD(objective=objective))


# ------------------------------------------------------------------------------------------ bands and ranges


@pytest.mark.parametrize(('low', 'high', 'bands'), [(0, 10000, 6), (-1, 1, 3), (0, 65535, 1), (0, 255, 2)])
def test_a_stated_range_is_the_unit_of_the_radius(low, high, bands):
    """Reflectances, images in [-1, 1], 16 bits: all the same pixels, and the same attack on the same model."""
    statistics = dict(mean=[low + 0.4 * (high - low)], std=[0.3 * (high - low)], bgr_to_rgb=False)
    model = segmentor(statistics, **{'backbone.in_channels': bands})
    pixels = images(2, bands, SIZE, SIZE)
    raw = [low + image * (high - low) for image in pixels]
    space = space_of(model, raw, map_samples(2, CLASSES), pixel_range=(float(low), float(high)))
    torch.testing.assert_close(space.pixels, pixels, rtol=0, atol=1e-5)
    attacked = space.attack(PGD('linf', '8/255', steps=2), [0, 1])
    assert float((attacked - space.pixels).abs().max()) == pytest.approx(8 / 255, abs=1e-4)
    step = float((space.to_inputs(attacked) - space.inputs).abs().max())
    assert step == pytest.approx(8 / 255 / 0.3, rel=1e-3)  # in units of std


@pytest.mark.parametrize(
    ('raw', 'said'),
    [
        (
            torch.full((3, 8, 8), 380, dtype=torch.int32),
            r'which only 8-bit and floating-point types determine; .* torch\.int32',
        ),
        (torch.linspace(-25, 5, 192).reshape(3, 8, 8), r'imply 0\.\.255, but these reach from -25 to 5'),
        (torch.linspace(0, 300, 192).reshape(3, 8, 8), r'imply 0\.\.255, but these reach from 0 to 300'),
    ],
    ids=['integers', 'decibels', 'brighter'],
)
def test_images_in_unknown_units_do_not_pass_for_8_bits(raw, said):
    model = classifier()
    with pytest.raises(ValueError, match=said):
        space_of(model, [raw], [classification_sample(0)])
    low, high = float(raw.min()), float(raw.max()) + 1
    assert space_of(model, [raw], [classification_sample(0)], pixel_range=(low, high)).range == (low, high)
