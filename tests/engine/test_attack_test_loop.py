"""Tests under attacks that stop anywhere and continue: the numbers of MMEngine's own loop, and nothing done twice."""

import contextlib
import copy
import math
import sqlite3
from collections import Counter

import numpy as np
import pytest
import torch
from helpers import (
    CLASSES,
    ClassificationImages,
    SegmentationImages,
    classifier,
    labelled_by,
    runner,
    segmentor,
    state_of,
)
from mmengine.dataset import BaseDataset, ConcatDataset
from mmengine.evaluator import BaseMetric
from PIL import Image
from torch.nn import functional as F

from samat_mm.engine.hooks import AttackEvaluationHook
from samat_mm.perturbations.inputs import PGD

LINF = dict(type='PGD', norm='linf', eps='16/255', steps=2)
L2 = dict(type='PGD', norm='l2', eps=2.0, steps=2)
KINDS = {
    'maps': (segmentor, SegmentationImages, 'mIoU'),
    'classes': (classifier, ClassificationImages, 'accuracy/top1'),
}
each_kind = pytest.mark.parametrize('kind', KINDS)


def images_of(kind, count=5, **changes):
    build, data, _ = KINDS[kind]
    model = build(**changes)
    return model, data(count)


def evaluation(model, data, folder, attacks=(), *, batch_size=2, evaluator=None, hooks=(), **options):
    """A run with the loop, whose results are in ``folder/attack_results``."""
    return runner(
        model,
        folder,
        evaluate=data,
        eval_batch_size=batch_size,
        evaluator=copy.deepcopy(evaluator),
        hooks=hooks,
        test_cfg=dict(type='AttackTestLoop', attacks=list(attacks), **options),
    )


def rows(folder):
    """How often each image is in the ledgers, by attack."""
    found = {}
    for file in (folder / 'attack_results').rglob('scores-*.sqlite'):
        with contextlib.closing(sqlite3.connect(file)) as database:
            for attack, image in database.execute('SELECT attack, image FROM scores'):
                found.setdefault(attack, Counter())[image] += 1
    return found


@pytest.fixture
def attacked(monkeypatch):
    """The numbers of the images that attacks were run on, in order."""
    seen = []
    call = PGD.__call__

    def record(self, *arguments, indices, **more):
        seen.extend(indices)
        return call(self, *arguments, indices=indices, **more)

    monkeypatch.setattr(PGD, '__call__', record)
    return seen


# ------------------------------------------------------------------------------------------ the same numbers


class Each(BaseMetric):
    """Keeps two numbers per image: the order and the count of results matter."""

    def process(self, data_batch, data_samples):
        for sample in data_samples:
            score = sample['seg_logits']['data'] if 'seg_logits' in sample else sample['pred_score']
            self.results += [float(score.double().sum()), {'largest': float(score.max())}]

    def compute_metrics(self, results):
        sums, largest = results[::2], [entry['largest'] for entry in results[1::2]]
        weights = np.arange(1, len(sums) + 1)
        return {'sum': float(weights @ sums), 'largest': float(weights @ largest), 'results': len(results)}


class Loss(BaseMetric):
    """The cross-entropy of what predict says: sensitive to every bit of an image."""

    def process(self, data_batch, data_samples):
        for sample in data_samples:
            if 'seg_logits' in sample:
                logits, target = sample['seg_logits']['data'][None], sample['gt_sem_seg']['data'].long()
                self.results.append(float(F.cross_entropy(logits.double(), target, ignore_index=255)))
            else:
                self.results.append(float(F.nll_loss(sample['pred_score'].double().log()[None], sample['gt_label'])))

    def compute_metrics(self, results):
        return {'loss': float(np.mean(results)), 'images': len(results)}


@each_kind
@pytest.mark.parametrize('joined', [False, True], ids=['one', 'concatenated'])
def test_clean_metrics_are_those_of_mmengines_own_loop_to_the_last_digit(kind, joined, tmp_path):
    model, data = images_of(kind)
    if kind == 'classes':
        labelled_by(model, data).labels[1] -= 1  # some right, some wrong
    if joined:
        data = ConcatDataset([Joinable(data), Joinable(KINDS[kind][1](3, seed=9))])
    expected = runner(model, tmp_path / 'own', evaluate=data).test()
    found = evaluation(model, data, tmp_path / 'loop').test()
    assert found == expected
    assert 0 < expected[KINDS[kind][2]] < 100


class Joinable(BaseDataset):
    """A data set as MMEngine joins them."""

    def __init__(self, data):
        self.data = data
        super().__init__(metainfo=data.metainfo, serialize_data=False)

    def load_data_list(self):
        return [{'number': index} for index in range(len(self.data))]

    def prepare_data(self, index):
        return self.data[self.get_data_info(index)['number']]


@each_kind
def test_several_metrics_and_several_results_for_an_image(kind, tmp_path):
    """Against a plain loop over the images."""
    model, data = images_of(kind, 5)
    found = evaluation(model, data, tmp_path, [LINF], evaluator=[Each(), Loss()]).test()
    scores = []
    for index in range(5):
        batch = {key: [value] for key, value in data[index].items()}
        with torch.no_grad():
            (sample,) = model.test_step(batch)
        scores.append(sample.seg_logits.data if kind == 'maps' else sample.pred_score)
    expected = sum(number * float(score.double().sum()) for number, score in enumerate(scores, 1))
    assert found['sum'] == pytest.approx(expected, rel=1e-5)
    assert found['largest'] == pytest.approx(sum(n * float(s.max()) for n, s in enumerate(scores, 1)), rel=1e-5)
    assert found['results'] == found['pgd-linf/results'] == 10
    assert found['images'] == found['pgd-linf/images'] == 5
    assert found['pgd-linf/loss'] > found['loss']


def test_a_metric_that_evaluates_in_its_own_way_is_refused(tmp_path):
    """Its results would be lost in a kill."""

    class Own(Loss):
        def evaluate(self, size):
            return {'own': size}

    model, data = images_of('classes', 2)
    with pytest.raises(ValueError, match=r'Own has its own evaluate.*AttackEvaluationHook'):
        evaluation(model, data, tmp_path, evaluator=[Own()]).test()


def test_a_metric_that_keeps_what_cannot_be_read_again_is_refused_at_the_first_image(tmp_path, attacked):
    class Strange(Loss):
        def process(self, data_batch, data_samples):
            self.results.append(Image.new('L', (1, 1)))

    model, data = images_of('classes', 4)
    with pytest.raises(ValueError, match=r'was refused: it holds PIL'):
        evaluation(model, data, tmp_path, [LINF], evaluator=[Strange()]).test()
    assert attacked == []


@each_kind
def test_robust_metrics_are_those_of_the_hook(kind, tmp_path):
    model, data = images_of(kind)
    data, strong = labelled_by(model, data), {**LINF, 'eps': '64/255'}
    expected = runner(model, tmp_path / 'hook', evaluate=data, hooks=[AttackEvaluationHook([strong, L2])]).test()
    assert evaluation(model, data, tmp_path / 'loop', [strong, L2]).test() == expected
    assert expected[f'pgd-linf/{KINDS[kind][2]}'] < 100


@each_kind
def test_the_batch_size_changes_nothing(kind, tmp_path):
    one, four = (
        evaluation(*images_of(kind), tmp_path / str(size), [LINF, L2], batch_size=size, evaluator=[Loss()]).test()
        for size in (1, 4)
    )
    assert four == pytest.approx(one, rel=2e-5)


def test_the_model_is_left_as_it_was(tmp_path):
    model, data = images_of('maps', 3)
    before = state_of(model)
    evaluation(model, data, tmp_path, [LINF]).test()
    after = model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


# ------------------------------------------------------------------------------------------ resuming


class Breaking:
    """A data set one image of which cannot be read."""

    def __init__(self, data, broken):
        self.data, self.broken, self.metainfo = data, broken, data.metainfo

    def __len__(self):
        return len(self.data)

    def get_data_info(self, index):
        return {'img_path': f'folder/image{index}.jpg'}

    def __getitem__(self, index):
        if index == self.broken:
            raise OSError('the disk is gone')
        return self.data[index]


@each_kind
def test_what_was_done_before_an_image_that_cannot_be_read_is_kept(kind, tmp_path, attacked):
    """The error names the file; once it is mended, the test continues in another batch size and repeats nothing."""
    model, data = images_of(kind, 6)
    data = labelled_by(model, data)
    whole = evaluation(model, data, tmp_path / 'whole', [LINF]).test()
    attacked.clear()
    with pytest.raises(OSError, match=r'image 4 of the test set, folder/image4\.jpg, cannot be read \(the disk'):
        evaluation(model, Breaking(data, 4), tmp_path / 'cut', [LINF]).test()
    assert attacked == [0, 1, 2, 3]
    run = evaluation(model, Breaking(data, None), tmp_path / 'cut', [LINF], batch_size=3)
    assert run.test() == whole
    assert run.test_loop.result.resumed
    assert attacked == [0, 1, 2, 3, 4, 5]
    assert rows(tmp_path / 'cut') == {name: Counter(range(6)) for name in ('clean', 'pgd-linf')}


def test_an_attack_that_fails_in_the_middle_leaves_the_clean_scores(tmp_path, monkeypatch, attacked):
    """Attack by attack: what is in the ledger is not scored again, also within a batch."""
    model, data = images_of('classes', 4)
    whole = evaluation(model, data, tmp_path / 'whole', [LINF, L2]).test()
    call, attacked[:] = PGD.__call__, []

    def fail(self, *arguments, indices, **more):
        if self.ball.name == 'l2' and 2 in indices:
            raise KeyboardInterrupt
        return call(self, *arguments, indices=indices, **more)

    with monkeypatch.context() as patch:
        patch.setattr(PGD, '__call__', fail)
        with pytest.raises(KeyboardInterrupt):
            evaluation(model, data, tmp_path / 'cut', [LINF, L2]).test()
    assert {name: sorted(images) for name, images in rows(tmp_path / 'cut').items()} == {
        'clean': [0, 1, 2, 3],
        'pgd-linf': [0, 1, 2, 3],
        'pgd-l2': [0, 1],
    }
    assert attacked == [0, 1, 0, 1, 2, 3]
    assert evaluation(model, data, tmp_path / 'cut', [LINF, L2]).test() == whole
    assert attacked == [0, 1, 0, 1, 2, 3, 2, 3]


def folders(folder):
    return sorted(path.name for path in (folder / 'attack_results').iterdir())


def test_a_finished_evaluation_starts_anew_or_answers_at_once(tmp_path, attacked):
    model, data = images_of('maps', 3)
    first = evaluation(model, data, tmp_path, [LINF])
    metrics = first.test()
    again = evaluation(model, data, tmp_path, [LINF])
    assert again.test() == metrics
    assert not again.test_loop.result.resumed
    assert again.test_loop.result.folder != first.test_loop.result.folder  # also if both began in the same second
    assert len(folders(tmp_path)) == 2
    assert attacked == [0, 1, 2] * 2
    resumed = evaluation(model, data, tmp_path, [LINF], resume=True)
    assert resumed.test() == metrics
    assert resumed.test_loop.result.resumed
    assert resumed.test_loop.result.folder == again.test_loop.result.folder
    assert attacked == [0, 1, 2] * 2
    costs = [run.test_loop.result.by_attack['pgd-linf'].cost() for run in (again, resumed)]
    assert costs[0] == costs[1]


def test_more_images_and_more_attacks_cost_only_these(tmp_path, attacked):
    model, data = images_of('classes', 5)
    two = evaluation(model, data, tmp_path / 'a', [LINF], max_samples=2)
    two.test()
    assert two.test_loop.result.samples == 2
    assert attacked == [1, 3]  # spread over the data set
    all_of_them = evaluation(model, data, tmp_path / 'a', [LINF], resume=True, max_samples=100)
    metrics = all_of_them.test()
    assert all_of_them.test_loop.result.samples == 5
    assert attacked == [1, 3, 0, 2, 4]
    more = evaluation(model, data, tmp_path / 'a', [LINF, L2], resume=True)
    assert more.test().items() > metrics.items()
    assert attacked == [1, 3, 0, 2, 4, 0, 1, 2, 3, 4]
    fewer = evaluation(model, data, tmp_path / 'a', [L2], resume=True, max_samples=2).test()
    assert fewer == evaluation(model, data, tmp_path / 'b', [L2], max_samples=2).test()
    assert attacked == [1, 3, 0, 2, 4, 0, 1, 2, 3, 4, 1, 3]


def test_an_evaluation_that_was_widened_and_killed_goes_on_without_resume(tmp_path, attacked):
    """It was finished before, but is not any more."""
    model, data = images_of('classes', 4)
    evaluation(model, data, tmp_path, [LINF], max_samples=2).test()
    with pytest.raises(OSError, match='image 3'):
        evaluation(model, Breaking(data, 3), tmp_path, [LINF], resume=True, batch_size=1).test()
    evaluation(model, data, tmp_path, [LINF]).test()
    assert attacked == [0, 2, 1, 3]


def test_resume_needs_something_to_resume(tmp_path):
    model, data = images_of('classes', 2)
    with pytest.raises(ValueError, match=r'no evaluation to resume in .*attack_results; leave out --resume'):
        evaluation(model, data, tmp_path, resume=True).test()


def test_resume_refuses_what_has_changed_and_says_what(tmp_path):
    model, data = images_of('classes', 2)
    evaluation(model, data, tmp_path, [LINF]).test()

    def refused(pattern, model=model, data=data, attack=LINF, **options):
        with pytest.raises(ValueError, match=f'cannot be resumed, because {pattern}.*leave out --resume'):
            evaluation(model, data, tmp_path, [attack], resume=True, **options).test()

    refused('attacks.pgd-linf.steps was 2 and is 3 now', attack={**LINF, 'steps': 3})
    refused('attacks.pgd-linf.seed was 0 and is 7 now', attack={**LINF, 'seed': 7})
    refused('images was 2 and is 3 now', data=ClassificationImages(3))
    refused('craft_dtype was None and is .bfloat16. now', craft_dtype='bfloat16')
    other = classifier()
    with torch.no_grad():
        other.head.fc.bias[0] += 1e-3
    refused("weights was '[0-9a-f]{16}' and is", model=other)
    assert len(folders(tmp_path)) == 1
    evaluation(other, data, tmp_path, [LINF]).test()  # without resume another one begins
    assert len(folders(tmp_path)) == 2


def test_an_older_evaluation_goes_on_though_another_one_was_begun_since(tmp_path, attacked):
    model, data = images_of('classes', 4)
    with pytest.raises(OSError, match='image 2'):
        evaluation(model, Breaking(data, 2), tmp_path, [LINF]).test()
    with pytest.raises(OSError, match='image 2'):
        evaluation(model, Breaking(data, 2), tmp_path, [{**LINF, 'seed': 1}]).test()
    attacked.clear()
    run = evaluation(model, data, tmp_path, [LINF], resume=True)
    run.test()
    assert run.test_loop.result.resumed
    assert attacked == [2, 3]


# ------------------------------------------------------------------------------------------ ensembles


def test_sea_through_the_loop(tmp_path):
    """Its worst case is no better than any member, and its pixel accuracy is the image-wise minimum."""
    model, data = images_of('maps', 4)
    data = labelled_by(model, data)
    sea = dict(type='SEA', norm='linf', eps='4/255', steps=6)
    run = evaluation(model, data, tmp_path, [sea])
    metrics = run.test()
    results = {name: result for name, result in run.test_loop.result.by_attack.items() if name.startswith('sea-linf/')}
    assert len(results) == 3
    assert not any(key.startswith('sea-linf/') and key.count('/') > 1 for key in metrics)
    for result in results.values():
        assert metrics['sea-linf/worst_case_mIoU'] <= result.metrics['mIoU'] + 0.01  # which is rounded
    worst = [min(1 - result.scores[image].wrong for result in results.values()) for image in range(4)]
    assert metrics['sea-linf/worst_case_aAcc'] == pytest.approx(100 * np.mean(worst))
    assert metrics['sea-linf/worst_case_aAcc'] < 100
    whole = run.test_loop.result.by_attack['sea-linf']
    assert [1 - score.wrong for score in whole.scores] == worst
    members = [result.cost() for result in results.values()]
    assert whole.cost()['forwards'] == pytest.approx(sum(cost['forwards'] for cost in members))
    assert whole.cost()['seconds'] == pytest.approx(sum(cost['seconds'] for cost in members))
    assert all(score.results == [] for result in run.test_loop.result.by_attack.values() for score in result.scores)


def test_files_of_sea_have_a_worst_case_too_and_its_weights_are_a_setting(tmp_path):
    model, data = images_of('maps', 2)
    data = labelled_by(model, data)
    sea = dict(type='SEA', norm='linf', eps='4/255', steps=3)
    run = evaluation(model, data, tmp_path, [sea], export_dir=str(tmp_path / 'files'))
    metrics = run.test()
    exported = run.test_loop.result.by_attack['sea-linf/exported']
    assert len(list((tmp_path / 'files').glob('sea-linf-*/*.png'))) == 3 * 2
    assert set(exported.metrics) == {key.partition('/')[2] for key in metrics if key.startswith('sea-linf/')}
    assert exported.metrics['worst_case_aAcc'] == pytest.approx(metrics['sea-linf/worst_case_aAcc'], abs=5)
    assert max(score.more['largest_change'] for score in exported.scores) == pytest.approx(4 / 255, rel=1e-4)
    weighted = {**sea, 'class_pixels': [1] * CLASSES}
    with pytest.raises(ValueError, match=r'attacks.sea-linf/balanced.*class_pixels was None and is \[1'):
        evaluation(model, data, tmp_path, [weighted], resume=True).test()


# ------------------------------------------------------------------------------------------ files


@pytest.mark.parametrize('order', ['rgb', 'bgr'])
def test_exported_files_are_the_rounded_images_in_the_right_colours(order, tmp_path):
    """Opened with PIL, they are within the radius and a rounding of the image files that the data set read."""
    model = segmentor(preprocessor={'bgr_to_rgb': order == 'rgb'})
    data = labelled_by(model, SegmentationImages(3))
    run = evaluation(model, data, tmp_path / 'run', [LINF], export_dir=str(tmp_path / 'files'))
    metrics = run.test()
    files = sorted((tmp_path / 'files' / 'pgd-linf').iterdir())
    assert [file.name for file in files] == [f'{n:06d}-image{n}.png' for n in range(3)]
    changes = []
    for file, raw in zip(files, data.raw, strict=True):
        found = np.asarray(Image.open(file)).astype(int)
        original = raw.flip(0).permute(1, 2, 0).numpy().astype(int)  # the data set gives BGR, as mmseg reads files
        assert found.shape == original.shape
        changes.append(np.abs(found - original).max())
        assert changes[-1] == 16  # a whole number of levels: rounding changes no corner of the ball
    exported = run.test_loop.result.by_attack['pgd-linf/exported']
    assert [round(255 * score.more['largest_change']) for score in exported.scores] == changes
    assert not any('exported' in key for key in metrics)
    assert exported.metrics['mIoU'] == pytest.approx(metrics['pgd-linf/mIoU'], abs=2)


def test_what_is_scored_again_is_what_the_files_hold(tmp_path):
    """A radius of 0.3/255 is rounded away: the files are the clean images, and so are their scores."""
    model, data = images_of('classes', 3)
    faint = dict(type='PGD', norm='linf', eps='0.3/255', steps=2)
    run = evaluation(model, data, tmp_path / 'run', [faint], export_dir=str(tmp_path / 'files'), evaluator=[Loss()])
    metrics = run.test()
    exported = run.test_loop.result.by_attack['pgd-linf/exported']
    assert exported.metrics['loss'] == pytest.approx(metrics['loss'], rel=1e-5)
    assert metrics['pgd-linf/loss'] > metrics['loss'] * 1.0001
    assert max(score.more['largest_change'] for score in exported.scores) < 1e-6
    for file, raw in zip(sorted((tmp_path / 'files').rglob('*.png')), data.raw, strict=True):
        assert (np.asarray(Image.open(file)) == raw.flip(0).permute(1, 2, 0).numpy()).all()


def test_files_asked_for_later_are_written_later(tmp_path, attacked):
    model, data = images_of('classes', 3)
    evaluation(model, data, tmp_path / 'run', [LINF]).test()
    run = evaluation(model, data, tmp_path / 'run', [LINF], export_dir=str(tmp_path / 'files'), resume=True)
    run.test()
    assert len(list((tmp_path / 'files').rglob('*.png'))) == 3
    assert attacked == [0, 1, 2] * 2
    evaluation(model, data, tmp_path / 'run', [LINF], export_dir=str(tmp_path / 'files'), resume=True).test()
    assert attacked == [0, 1, 2] * 2


def test_pictures_of_some_images_show_these(tmp_path, monkeypatch):
    """Resumed in another order than it began in: every picture has the prediction of its own image."""
    from samat_mm.evaluation import attack_run

    pairs = []

    def record(folder, numbers, space, pixels, clean, attacked, meta):
        pairs.extend(zip(numbers, clean, attacked, strict=True))

    monkeypatch.setattr(attack_run, 'save_panels', record)
    model, data = images_of('classes', 4)
    evaluation(model, data, tmp_path, [LINF], max_samples=2).test()
    evaluation(model, data, tmp_path, [L2], show_dir=str(tmp_path / 'shown'), resume=True, batch_size=4).test()
    assert [number for number, *_ in pairs] == [0, 1, 2, 3]
    for number, clean, attacked in pairs:
        assert clean.metainfo['img_path'] == attacked.metainfo['img_path'] == f'image{number}.png'
        assert clean.gt_label == attacked.gt_label == data.labels[number]


# ------------------------------------------------------------------------------------------ what does not fit


def test_attacks_that_do_not_fit_the_task(tmp_path):
    with pytest.raises(ValueError, match=r'segpgd weighs the pixels of a segmentation'):
        evaluation(*images_of('classes', 2), tmp_path / 'a', [dict(type='SegPGD', eps='1/255')]).test()
    with pytest.raises(ValueError, match=r'Pixle.*classif'):
        evaluation(*images_of('maps', 2), tmp_path / 'b', [dict(type='Pixle')]).test()
    assert rows(tmp_path / 'b') == {'clean': Counter([0, 1])}


@each_kind
@pytest.mark.parametrize('attacks', [[], [LINF]], ids=['clean', 'attacked'])
def test_a_model_whose_predictions_are_nan_is_refused(kind, attacks, tmp_path):
    model, data = images_of(kind, 2)
    last = model.decode_head.conv_seg if kind == 'maps' else model.head.fc
    with torch.no_grad():
        last.bias.fill_(math.nan)
    with pytest.raises(FloatingPointError, match=r'prediction for image0\.png is NaN.*check the checkpoint'):
        evaluation(model, data, tmp_path, attacks).test()
    assert rows(tmp_path) == {}


@pytest.mark.parametrize('ignored', ['one', 'all'])
def test_images_without_a_labelled_pixel(ignored, tmp_path):
    model, data = images_of('maps', 3)
    for label in data.labels if ignored == 'all' else data.labels[:1]:
        label.fill_(255)
    run = evaluation(model, data, tmp_path / 'loop', [LINF, dict(type='SEA', norm='linf', eps='4/255', steps=3)])
    metrics = run.test()
    results = run.test_loop.result.by_attack
    assert results['clean'].scores[0].counts == []
    assert (results['clean'].scores[0].wrong, results['clean'].scores[0].loss) == (0, 0)
    expected = runner(model, tmp_path / 'own', evaluate=data).test()
    assert {key: metrics[key] for key in expected} == pytest.approx(expected, nan_ok=True)
    if ignored == 'all':
        assert results['clean'].per_class == [None] * 4
        assert 'sea-linf/worst_case_mIoU' not in metrics
    else:
        assert metrics['sea-linf/worst_case_mIoU'] <= metrics['sea-linf/mIoU'] + 0.01
        with_labels = [score.wrong for score in results['sea-linf'].scores[1:]]
        assert metrics['sea-linf/worst_case_aAcc'] == pytest.approx(100 * (1 - np.mean(with_labels)))


@pytest.mark.parametrize('count', [0, -3])
def test_at_least_one_image(count, tmp_path):
    with pytest.raises(ValueError, match=f'max_samples must be a whole number of at least 1; got {count}'):
        evaluation(*images_of('classes', 2), tmp_path, max_samples=count).test()


# ------------------------------------------------------------------------------------------ cost


def test_images_that_are_wrong_already_cost_less(tmp_path):
    """The attack leaves out what is broken, one by one, and the score of the others stays what it was."""
    model, data = images_of('classes', 6)
    labelled_by(model, data)
    for index in (1, 4):
        data.labels[index] = (data.labels[index] + 1) % 4
    attack = dict(type='PGD', norm='linf', eps='2/255', steps=8)
    runs = [
        evaluation(model, data, tmp_path / goal, [{**attack, 'goal': goal, 'name': 'pgd'}], batch_size=1)
        for goal in ('loss', 'error')
    ]
    through, stopped = (run.test() for run in runs)
    assert stopped['pgd/accuracy/top1'] <= through['pgd/accuracy/top1']
    many, few = ([score.backwards for score in run.test_loop.result.by_attack['pgd'].scores] for run in runs)
    assert many == [8] * 6
    assert few[1] == few[4] == 0 < max(few) <= 8
    assert max(runs[1].test_loop.result.by_attack['pgd'].scores[index].forwards for index in (1, 4)) < 8


def test_passes_and_time_are_counted(tmp_path):
    run = evaluation(*images_of('maps', 3), tmp_path, [dict(type='PGD', norm='linf', eps='1/255', steps=5)])
    run.test()
    cost, clean = (run.test_loop.result.by_attack[name].cost() for name in ('pgd-linf', 'clean'))
    assert (clean['forwards'], clean['backwards']) == (0, 0)
    assert cost['backwards'] == 5
    assert 5 <= cost['forwards'] <= 7
    assert cost['seconds'] > clean['seconds'] > 0
