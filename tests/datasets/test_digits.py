from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS
from mmseg.evaluation import IoUMetric
from sklearn.datasets import load_digits

import samat_mm  # noqa: F401  (registers the data set)
from samat_mm.datasets import DigitScenes
from samat_mm.datasets.digits import HANDWRITING, INK_CONTRAST

CONFIG = Path(__file__).parents[2] / 'configs/_base_/datasets/digits.py'


def test_a_scene_depends_on_seed_split_and_number_alone():
    first, again = DigitScenes('val', length=20), DigitScenes('val', length=50)
    for scene in (7, 3, 7):
        for one, other in zip(first.draw(scene), again.draw(scene), strict=True):
            np.testing.assert_array_equal(one, other)
    image = first.draw(3)[0]
    for other in (DigitScenes('val', seed=1).draw(3), DigitScenes('train').draw(3), first.draw(4)):
        assert np.abs(image.astype(int) - other[0]).mean() > 5


def test_train_and_val_share_no_handwriting():
    shown = {split: set() for split in ('train', 'val')}
    for split, used in shown.items():
        dataset = DigitScenes(split)
        for scene in range(80):
            used.update(dataset.draw(scene)[2])
    assert len(shown['train']) > 150 and len(shown['val']) > 100
    assert not shown['train'] & shown['val']
    assert shown['val'] <= set(HANDWRITING['val']) and shown['train'] <= set(HANDWRITING['train'])
    assert sorted([*HANDWRITING['train'], *HANDWRITING['val']]) == list(range(1797))


def test_labels_are_the_digits_that_were_drawn():
    target = load_digits().target
    dataset = DigitScenes('train')
    for scene in range(40):
        image, labels, used = dataset.draw(scene)
        assert image.shape == (96, 96, 3) and image.dtype == np.uint8
        assert labels.shape == (96, 96) and labels.dtype == np.uint8
        assert set(np.unique(labels)) == {0, *(int(target[index]) + 1 for index in used)}
        assert 0.02 < (labels > 0).mean() < 0.5


def test_labels_lie_where_the_ink_is():
    dataset = DigitScenes('val')
    differences = []
    for scene in range(40):
        image, labels, _ = dataset.draw(scene)
        lightness = image @ np.array([0.114, 0.587, 0.299])
        ground = lightness[labels == 0].mean()
        differences += [abs(np.median(lightness[labels == digit]) - ground) for digit in np.unique(labels)[1:]]
    assert np.median(differences) > INK_CONTRAST
    assert np.mean(np.array(differences) > INK_CONTRAST / 2) > 0.95  # two digits of one label may differ in ink


def test_every_digit_occurs():
    dataset = DigitScenes('val', length=100)
    counts = sum(np.bincount(dataset.draw(scene)[1].ravel(), minlength=11) for scene in range(100))
    assert counts.min() > 0.01 * counts[1:].sum()


@pytest.mark.parametrize('size', [32, 64, 160])
def test_digits_scale_with_the_image(size):
    image, labels, used = DigitScenes('train', image_size=size).draw(5)
    assert image.shape == (size, size, 3) and len(used) >= 2 and (labels > 0).mean() > 0.02


def test_the_config_builds_for_mmseg_and_its_metric_scores_the_labels_as_perfect(use_scope):
    config = Config.fromfile(CONFIG)
    use_scope('mmseg')
    dataset = DATASETS.build(config.val_dataloader.dataset)
    assert len(dataset) == 100
    sample = dataset[12]
    data = sample['data_samples']
    assert sample['inputs'].shape == (3, 96, 96) and str(sample['inputs'].dtype) == 'torch.uint8'
    assert data.img_path == 'digits-val-00012' and data.ori_shape == (96, 96)
    metric = IoUMetric(iou_metrics=['mIoU'])
    metric.dataset_meta = dataset.metainfo
    label = data.gt_sem_seg.data
    metric.process({}, [dict(pred_sem_seg=dict(data=label), gt_sem_seg=dict(data=label))])
    scores = metric.compute_metrics(metric.results)
    assert scores['aAcc'] == 100 and scores['mIoU'] == 100


def test_indices_choose_scenes():
    dataset = DigitScenes('val', length=50, indices=[40, 41])
    assert [dataset[number]['img_path'] for number in range(2)] == ['digits-val-00040', 'digits-val-00041']
    np.testing.assert_array_equal(dataset[1]['img'], dataset.draw(41)[0])


@pytest.mark.parametrize(
    ('wrong', 'words'),
    [(dict(split='test'), "'test'"), (dict(length=0), 'length'), (dict(image_size=8), '32'), (dict(seed=-1), 'seed')],
)
def test_wrong_parameters_are_explained(wrong, words):
    with pytest.raises(ValueError, match=words):
        DigitScenes(**wrong)


@pytest.mark.parametrize('given', [dict(length='x'), dict(image_size=96.0), dict(seed=None), dict(length=True)])
def test_a_number_of_another_kind_is_refused(given):
    with pytest.raises(ValueError, match=rf'{next(iter(given))} must be a whole number, at least \d+; got'):
        DigitScenes(**given)
