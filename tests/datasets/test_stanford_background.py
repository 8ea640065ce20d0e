import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, TRANSFORMS

from samat_mm.datasets import CheckedLoadImage, LoadRegions, StanfordBackgroundDataset
from samat_mm.datasets.stanford_background import names_in_folds, read_regions

CONFIG = Path(__file__).parents[2] / 'configs/_base_/datasets/stanford.py'
NAMES = [f'{number:07d}' for number in range(715)]


@pytest.fixture
def scenes(tmp_path):
    """Make a small data set of ten images of 6x8 pixels."""
    rng = np.random.default_rng(0)
    for folder in ('images', 'labels'):
        (tmp_path / folder).mkdir()
    for name in NAMES[:10]:
        cv2.imwrite(str(tmp_path / f'images/{name}.jpg'), rng.integers(0, 256, (6, 8, 3), np.uint8))
        np.savetxt(tmp_path / f'labels/{name}.regions.txt', rng.integers(-1, 8, (6, 8)), fmt='%d')
    return tmp_path


def names_of(dataset):
    return [Path(dataset.get_data_info(index)['img_path']).stem for index in range(len(dataset))]


def test_the_split_is_fixed():
    """A change of the split would silently change every result."""
    folds = names_in_folds(NAMES)
    assert [len(fold) for fold in folds] == [143] * 5
    assert sorted(name for fold in folds for name in fold) == NAMES
    assert folds == names_in_folds(reversed(NAMES))
    digest = hashlib.sha256(' '.join(folds[4]).encode()).hexdigest()
    assert digest.startswith('00db8f07'), digest


def test_the_folds_partition_the_images(scenes):
    def names(split, fold=None):  # serialising collects garbage, which takes a third of a second each time
        return names_of(StanfordBackgroundDataset(scenes, split, fold, serialize_data=False))

    vals = []
    for fold in range(5):
        train, val = names('train', fold), names('val', fold)
        assert sorted(train + val) == NAMES[:10] and len(val) == 2
        vals += val
    assert sorted(vals) == NAMES[:10]
    assert names('val') == names('val', 4)


def test_labels_are_read_and_unknown_is_ignored(scenes):
    dataset = StanfordBackgroundDataset(scenes, 'train', pipeline=[CheckedLoadImage(), LoadRegions()])
    for index, name in enumerate(names_of(dataset)):
        sample = dataset[index]
        expected = np.loadtxt(scenes / f'labels/{name}.regions.txt').astype(int)
        assert sample['gt_seg_map'].dtype == np.uint8 and sample['seg_fields'] == ['gt_seg_map']
        np.testing.assert_array_equal(sample['gt_seg_map'], np.where(expected < 0, 255, expected))


def test_a_subset_of_the_classes_is_renumbered(scenes):
    dataset = StanfordBackgroundDataset(
        scenes, metainfo=dict(classes=('water', 'sky')), pipeline=[CheckedLoadImage(), LoadRegions()]
    )
    whole = StanfordBackgroundDataset(scenes, pipeline=[CheckedLoadImage(), LoadRegions()])[0]['gt_seg_map']
    expected = np.select([whole == 4, whole == 0], [0, 1], 255)
    np.testing.assert_array_equal(dataset[0]['gt_seg_map'], expected)


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('0 1\n2 8\n', r'hold \[8\]'),
        ('0 1\n2 -2\n', r'hold \[-2\]'),
        ('0 1 2\n3 4 5\n', r'\(2, 3\).*image is \(2, 2\)'),
        ('0 1\n2\n', 'cannot be decoded'),
        ('0 1\n2 x\n', 'cannot be decoded'),
        ('0 1\n2 1.5\n', 'cannot be decoded'),
    ],
)
def test_bad_labels_are_named(tmp_path, text, words):
    path = tmp_path / 'one.regions.txt'
    path.write_text(text)
    with pytest.raises(ValueError, match=rf'one\.regions\.txt.*{words}'):
        read_regions(path, (2, 2))


def test_labels_that_would_fill_the_memory_are_named(tmp_path):
    path = tmp_path / 'one.regions.txt'
    path.symlink_to('/dev/zero')
    with pytest.raises(ValueError, match=r'one\.regions\.txt are a device, or far too long for an image of \(2, 2\)'):
        read_regions(path, (2, 2))
    path.unlink()
    path.write_text('0 ' * 1000)
    with pytest.raises(ValueError, match='far too long'):
        read_regions(path, (2, 2))
    np.savetxt(path, np.zeros((2, 2)))
    with pytest.raises(ValueError, match='cannot be decoded'):  # numbers of 25 bytes are wrong, but not long
        read_regions(path, (2, 2))


@pytest.mark.filterwarnings('ignore:loadtxt')
def test_empty_labels_are_named(tmp_path):
    (tmp_path / 'one.regions.txt').touch()
    with pytest.raises(ValueError, match=r'one\.regions\.txt'):
        read_regions(tmp_path / 'one.regions.txt', (2, 2))


@pytest.mark.parametrize('content', [b'', b'no picture', b'\xff\xd8\xff\xe0\x00\x10JFIF'])
@pytest.mark.parametrize('split', ['train', 'val'])
def test_an_undecodable_image_is_named(scenes, content, split):
    dataset = StanfordBackgroundDataset(scenes, split, pipeline=[CheckedLoadImage()], test_mode=split == 'val')
    name = names_of(dataset)[1]
    (scenes / f'images/{name}.jpg').write_bytes(content)
    with pytest.raises(ValueError, match=rf'image .*{name}\.jpg cannot be decoded'):
        dataset[1]


def test_what_is_missing_is_said(scenes, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nowhere.*samat-mm prepare-data stanford SOURCE'):
        StanfordBackgroundDataset(tmp_path / 'nowhere')
    (scenes / f'labels/{NAMES[3]}.regions.txt').unlink()
    with pytest.raises(FileNotFoundError, match=rf'1 images.*{NAMES[3]}'):
        StanfordBackgroundDataset(scenes, 'val')


@pytest.mark.parametrize(
    ('wrong', 'words'), [(dict(split='test'), "'test'"), (dict(fold=5), '5'), (dict(fold=-1), '-1')]
)
def test_wrong_parameters_are_explained(scenes, wrong, words):
    with pytest.raises(ValueError, match=words):
        StanfordBackgroundDataset(scenes, **wrong)


def test_real_data(real_data, use_scope, tmp_path):
    root = real_data('stanford', 'stanford_background.tar.gz', tmp_path)
    config = Config.fromfile(CONFIG)
    use_scope('mmseg')
    datasets = {}
    for split in ('train', 'val'):
        settings = config[f'{split}_dataloader'].dataset
        settings.data_root = str(root)
        datasets[split] = DATASETS.build(settings)
    assert TRANSFORMS.get('LoadRegions') is LoadRegions
    train, val = names_of(datasets['train']), names_of(datasets['val'])
    assert (len(train), len(val)) == (572, 143) and not set(train) & set(val)
    digest = hashlib.sha256(' '.join(val).encode()).hexdigest()
    assert digest.startswith('ebc152b4'), digest
    for index in range(0, 143, 20):
        sample = datasets['val'][index]
        labels = sample['data_samples'].gt_sem_seg.data
        assert sample['inputs'].shape[1:] == labels.shape[1:] == sample['data_samples'].ori_shape
        assert set(labels.unique().tolist()) <= {*range(8), 255}
        assert datasets['train'][index]['inputs'].shape == (3, 240, 240)
