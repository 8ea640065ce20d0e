import numpy as np
import pytest
from helpers import ROOT
from mmengine.config import Config
from mmengine.registry import DATASETS
from sklearn.datasets import load_digits

import samat_mm  # noqa: F401
from samat_mm.datasets import HandwrittenDigits


def test_the_splits_are_scikit_learns_digits_in_order():
    digits = load_digits()
    found = [entry for split in ('train', 'test') for entry in HandwrittenDigits(split=split)]
    assert [len(HandwrittenDigits(split=split)) for split in ('train', 'test')] == [1297, 500]
    assert [entry['gt_label'] for entry in found] == digits.target.tolist()
    pixels = np.stack([entry['img'] for entry in found])
    assert pixels.dtype == np.uint8 and pixels.shape == (1797, 8, 8, 1)
    assert np.abs(pixels[..., 0] / 255 - digits.images / 16).max() <= 0.5 / 255
    assert (pixels.min(), pixels.max()) == (0, 255)


def test_training_images_are_shifted_by_up_to_a_pixel(use_scope):
    use_scope('mmpretrain')
    config = Config.fromfile(ROOT / 'configs/smallcnn_handwriting_sgd.py')
    data = DATASETS.build(config.train_dataloader.dataset)
    original = HandwrittenDigits(split='train')[0]['img'][..., 0]
    padded = np.pad(original, 1)
    windows = {padded[y : y + 8, x : x + 8].tobytes() for y in range(3) for x in range(3)}
    np.random.seed(0)
    seen = [data[0] for _ in range(100)]
    assert {item['inputs'].numpy()[0].tobytes() for item in seen} == windows
    assert seen[0]['inputs'].shape == (1, 8, 8) and int(seen[0]['data_samples'].gt_label) == 0


def test_statistics_are_those_of_the_training_images():
    config = Config.fromfile(ROOT / 'configs/smallcnn_handwriting_sgd.py')
    pixels = np.stack([entry['img'] for entry in HandwrittenDigits(split='train')]).astype(float)
    assert config.data_preprocessor.mean == [pytest.approx(pixels.mean(), abs=0.1)]
    assert config.data_preprocessor.std == [pytest.approx(pixels.std(), abs=0.1)]


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="split must be 'train' or 'test'; got 'val'"):
        HandwrittenDigits(split='val')
