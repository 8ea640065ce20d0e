import errno
import io
import re
import shutil
import struct
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from mmcv.transforms import Resize
from mmengine.config import Config
from mmengine.registry import DATASETS
from PIL import Image
from torch._utils import ExceptionWrapper

from samat_mm.datasets import CheckedLoadAnnotations, CheckedLoadImage, CheckLabels, RandomScale, VOC2012Dataset

CONFIG = Path(__file__).parents[2] / 'configs/_base_/datasets/voc.py'
PIPELINE = [CheckedLoadImage(), CheckedLoadAnnotations(), CheckLabels(num_classes=21)]


@pytest.fixture
def devkit(tmp_path):
    """Make a small data set: images a and b for training, c for validation."""
    for folder in ('JPEGImages', 'SegmentationClass', 'ImageSets/Segmentation'):
        (tmp_path / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in 'abc':
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(tmp_path / f'JPEGImages/{name}.jpg')
        save_labels(tmp_path / f'SegmentationClass/{name}.png', rng.choice([0, 7, 20, 255], (20, 30)))
    (tmp_path / 'ImageSets/Segmentation/train.txt').write_text('a\nb\n')
    (tmp_path / 'ImageSets/Segmentation/val.txt').write_text('c\n')
    return tmp_path


def save_labels(path, labels):
    image = Image.fromarray(np.asarray(labels, np.uint8), mode='P')
    image.putpalette(np.random.default_rng(1).integers(0, 256, 768, np.uint8).tobytes())
    image.save(path)


def test_labels_are_palette_indices(devkit):
    train, val = VOC2012Dataset(devkit, 'train', pipeline=PIPELINE), VOC2012Dataset(devkit, 'val', pipeline=PIPELINE)
    assert (len(train), len(val)) == (2, 1) and len(train.metainfo['classes']) == 21
    np.testing.assert_array_equal(val[0]['gt_seg_map'], np.asarray(Image.open(devkit / 'SegmentationClass/c.png')))


@pytest.mark.parametrize('value', [21, 254])
def test_a_bad_label_is_named(devkit, value):
    labels = np.zeros((20, 30))
    labels[3, 4] = value
    save_labels(devkit / 'SegmentationClass/b.png', labels)
    dataset = VOC2012Dataset(devkit, pipeline=PIPELINE)
    assert dataset[0]['gt_seg_map'].max() == 255
    with pytest.raises(ValueError, match=rf'b\.png hold \[{value}\].*0\.\.20 or 255'):
        dataset[1]


def test_labels_in_colour_are_named(devkit):
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(devkit / 'SegmentationClass/a.png')
    with pytest.raises(ValueError, match=r'a\.png have the shape \(20, 30, 3\)'):
        VOC2012Dataset(devkit, pipeline=PIPELINE)[0]


@pytest.mark.parametrize(
    ('file', 'what'), [('JPEGImages/a.jpg', r'image .*a\.jpg'), ('SegmentationClass/a.png', r'labels .*a\.png')]
)
def test_damaged_and_missing_files_are_named(devkit, file, what):
    path = devkit / file
    dataset = VOC2012Dataset(devkit, pipeline=PIPELINE)
    for content in (b'', b'no picture', path.read_bytes()[:100]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f'{what} cannot be decoded'):
            dataset[0]
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f'{what} is missing'):
        dataset[0]


@pytest.mark.parametrize('spoil', [Path.unlink, lambda path: path.write_bytes(b'no picture'), lambda path: grow(path)])
def test_the_sentence_survives_a_worker_process(devkit, spoil):
    """A worker hands its exception on like this; a real one costs five seconds at its end."""
    spoil(devkit / 'SegmentationClass/c.png')
    try:
        VOC2012Dataset(devkit, 'val', pipeline=PIPELINE)[0]
    except (ValueError, OSError) as error:
        raised, handed_on = error, ExceptionWrapper(where='in a worker process')
    with pytest.raises(type(raised), match=re.escape(f'{devkit}/SegmentationClass/c.png')) as caught:
        handed_on.reraise()
    assert str(caught.value) == str(raised)
    assert 'in transform' in str(caught.value.__cause__)  # the trace is available as the cause


def grow(path, width=31, height=20):
    save_labels(path, np.zeros((height, width)))


def test_labels_of_another_size_are_named(devkit):
    grow(devkit / 'SegmentationClass/a.png')
    for pipeline in (PIPELINE, [PIPELINE[0], Resize((10, 10)), *PIPELINE[1:]]):
        with pytest.raises(ValueError, match=r'labels .*a\.png are \(20, 31\) \(rows, columns\).*image is \(20, 30\)'):
            VOC2012Dataset(devkit, pipeline=pipeline)[0]


@pytest.mark.parametrize('order', [[0, 1, 3, 2], [0, 3, 1, 2], [1, 2, 0]])
def test_labels_fit_their_image_wherever_it_is_resized(devkit, order):
    """Tests of mmseg resize the image before its labels are there, trainings resize both."""
    steps = [*PIPELINE, Resize((60, 40))]
    assert VOC2012Dataset(devkit, pipeline=[steps[number] for number in order])[0]['gt_seg_map'].ndim == 2


@pytest.mark.parametrize(
    ('file', 'what'), [('JPEGImages/a.jpg', r'image .*a\.jpg'), ('SegmentationClass/a.png', r'labels .*a\.png')]
)
@pytest.mark.filterwarnings('ignore::PIL.Image.DecompressionBombWarning')
def test_what_would_fill_the_memory_is_named(devkit, file, what):
    path = devkit / file
    dataset = VOC2012Dataset(devkit, pipeline=PIPELINE)
    for side in (60_000, 10_000):  # the first one is too large for Pillow itself
        png = io.BytesIO()
        Image.new('L', (1, 1)).save(png, 'PNG')
        header = b'IHDR' + struct.pack('>II', side, side) + png.getvalue()[24:29]
        path.write_bytes(png.getvalue()[:12] + header + struct.pack('>I', zlib.crc32(header)) + png.getvalue()[33:])
        with pytest.raises(ValueError, match=f'{what} is too large .* exceed'):
            dataset[0]
    for other in ('/dev/zero', devkit):
        path.unlink()
        path.symlink_to(other)
        with pytest.raises(ValueError, match=f'{what} is a folder, a device or a pipe, not a file'):
            dataset[0]


def test_what_may_not_be_read_is_named(devkit, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(errno.EACCES, 'Permission denied')

    monkeypatch.setattr('mmengine.fileio.get', refused)
    with pytest.raises(OSError, match=r'image .*a\.jpg cannot be read \(Permission denied\); change the permissions'):
        VOC2012Dataset(devkit, pipeline=PIPELINE)[0]


@pytest.mark.parametrize(('content', 'words'), [(b'\n', 'does not name any image'), (b'\xff', 'cannot be decoded')])
def test_a_list_that_names_nothing_is_named(devkit, content, words):
    (devkit / 'ImageSets/Segmentation/val.txt').write_bytes(content)
    with pytest.raises(ValueError, match=rf'list .*Segmentation/val\.txt {words}'):
        VOC2012Dataset(devkit, 'val')


@pytest.mark.parametrize('lazy', [False, True])
def test_what_is_missing_is_said(devkit, lazy):
    (devkit / 'ImageSets/Segmentation/val.txt').unlink()
    with pytest.raises(FileNotFoundError, match=r'lacks ImageSets/Segmentation/val\.txt; run `samat-mm prepare-data'):
        VOC2012Dataset(devkit, 'val', lazy_init=lazy)
    with pytest.raises(FileNotFoundError, match='lacks JPEGImages, SegmentationClass, '):
        VOC2012Dataset(devkit / 'nowhere', lazy_init=lazy)


@pytest.fixture
def augmented(devkit):
    """Add images d and e with labels like SBD's, and labels for a that differ from its own."""
    (devkit / 'SegmentationClassAug').mkdir()
    for number, name in enumerate('ade'):
        Image.new('RGB', (30, 20)).save(devkit / f'JPEGImages/{name}.jpg')
        save_labels(devkit / f'SegmentationClassAug/{name}.png', np.full((20, 30), 10 + number))
    return devkit


def list_of(devkit, text, name='aug.txt'):
    (devkit / 'ImageSets/Segmentation' / name).write_text(text)


@pytest.mark.parametrize(
    ('name', 'text'),
    [
        ('aug.txt', 'e\nd\n'),
        ('trainaug.txt', 'a\ne\n\nb\nd\nd\n'),  # with train, and one of them twice
        (
            'train_aug.txt',
            '/JPEGImages/e.jpg /SegmentationClassAug/e.png\n/JPEGImages/d.jpg /SegmentationClassAug/d.png',
        ),
    ],
)
def test_the_augmented_list_adds_images_to_train(augmented, name, text):
    list_of(augmented, text, name)
    dataset = VOC2012Dataset(augmented, 'trainaug', pipeline=PIPELINE)
    assert [Path(dataset.get_data_info(index)['img_path']).stem for index in range(4)] == ['a', 'b', 'e', 'd']
    own = np.asarray(Image.open(augmented / 'SegmentationClass/a.png'))
    np.testing.assert_array_equal(dataset[0]['gt_seg_map'], own)  # not SBD's
    assert [set(np.unique(dataset[index]['gt_seg_map'])) for index in (2, 3)] == [{12}, {11}]
    assert len(dataset) == 4 and len(VOC2012Dataset(augmented, 'train')) == 2


def test_a_line_of_the_config_takes_the_augmented_list(augmented, use_scope):
    use_scope('mmseg')
    list_of(augmented, 'd\ne\n')
    config = Config.fromfile(CONFIG)
    assert config.train_dataloader.dataset.split == 'train'
    config.merge_from_dict(
        {'train_dataloader.dataset.split': 'trainaug', 'train_dataloader.dataset.data_root': str(augmented)}
    )
    dataset = DATASETS.build(config.train_dataloader.dataset)
    assert len(dataset) == 4 and set(dataset[3]['data_samples'].gt_sem_seg.data.unique().tolist()) <= {12, 255}


@pytest.mark.parametrize('lazy', [False, True])
def test_an_image_of_val_never_enters_training(augmented, lazy):
    for text in ('d\nc\n', '/JPEGImages/c.jpg /SegmentationClassAug/c.png\n'):
        list_of(augmented, text)
        with pytest.raises(ValueError, match=r'list .*aug\.txt names 1 of the images .* \(val\): c; take them out'):
            VOC2012Dataset(augmented, 'trainaug', lazy_init=lazy)


def test_what_the_augmented_list_lacks_is_said(augmented):
    build = partial(VOC2012Dataset, augmented, 'trainaug')
    with pytest.raises(
        FileNotFoundError, match=r'lacks ImageSets/Segmentation/aug\.txt \(or .*; get SBD .*voc_aug\.py'
    ):
        build()
    list_of(augmented, 'a\nb\n')
    with pytest.raises(ValueError, match=r'aug\.txt adds no image to the 2 of train'):
        build()
    list_of(augmented, 'd\n')
    shutil.rmtree(augmented / 'SegmentationClassAug')
    with pytest.raises(FileNotFoundError, match='lacks SegmentationClassAug; get SBD'):
        build()
    (augmented / 'ImageSets/Segmentation/val.txt').unlink()
    with pytest.raises(FileNotFoundError, match=r'lacks ImageSets/Segmentation/val\.txt'):  # else c could be in it
        build()


def test_random_scale_is_relative_to_the_image():
    np.random.seed(0)
    scale, ratios = RandomScale((0.5, 2.0)), []
    for _ in range(300):
        results = scale(dict(img=np.zeros((40, 60, 3), np.uint8), gt_seg_map=np.full((40, 60), 20, np.uint8)))
        height, width = results['img'].shape[:2]
        assert results['gt_seg_map'].shape == results['img_shape'] == (height, width)
        assert abs(width - 1.5 * height) <= 1.5 and set(np.unique(results['gt_seg_map'])) == {20}
        ratios.append(height / 40)
    assert min(ratios) < 0.55 and max(ratios) > 1.95
    assert abs(np.mean(ratios) - 1.25) < 0.1
    with pytest.raises(ValueError, match='ratio_range'):
        RandomScale((2.0, 0.5))


def test_real_data(real_data, use_scope, tmp_path):
    root = real_data('voc', 'voc2012_sample.tar', tmp_path)
    config = Config.fromfile(CONFIG)
    use_scope('mmseg')
    for split in ('train', 'val'):
        settings = config[f'{split}_dataloader'].dataset
        settings.data_root = str(root)
        dataset = DATASETS.build(settings)
        assert len(dataset) == 225
        for index in range(0, 225, 75):
            sample = dataset[index]
            labels = sample['data_samples'].gt_sem_seg.data
            assert sample['inputs'].shape[1:] == labels.shape[1:] and set(labels.unique().tolist()) <= {
                *range(21),
                255,
            }
            if split == 'val':
                assert labels.shape[1:] == sample['data_samples'].ori_shape
            else:
                assert max(labels.shape) <= 513
