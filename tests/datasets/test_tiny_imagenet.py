import os
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import ROOT
from mmengine.config import Config
from mmengine.registry import DATASETS

import samat_mm  # noqa: F401
from samat_mm.datasets import TinyImageNet

ARCHIVE = Path(os.environ.get('SAMAT_TEST_DATA', ROOT / '../shared/data')) / 'tiny_imagenet_subset.tar.gz'
IDS = ('n01443537', 'n02058221', 'n07749582')


@pytest.fixture
def root(tmp_path):
    """Two training images of three classes, and one validation image of each, in another order."""
    rng = np.random.default_rng(0)
    for name in IDS:
        (tmp_path / 'train' / name / 'images').mkdir(parents=True)
        for number in range(2):
            image = rng.integers(0, 256, (64, 64, 3), np.uint8)
            cv2.imwrite(str(tmp_path / 'train' / name / 'images' / f'{name}_{number}.JPEG'), image)
    (tmp_path / 'val/images').mkdir(parents=True)
    lines = []
    for number, name in enumerate(reversed(IDS)):
        cv2.imwrite(str(tmp_path / f'val/images/val_{number}.JPEG'), rng.integers(0, 256, (64, 64, 3), np.uint8))
        lines.append(f'val_{number}.JPEG\t{name}\t0\t0\t62\t62\n')
    (tmp_path / 'val/val_annotations.txt').write_text(''.join(lines))
    (tmp_path / 'wnids.txt').write_text('\n'.join(reversed(IDS)) + '\n')
    (tmp_path / 'words.txt').write_text(f'{IDS[0]}\tgoldfish, Carassius auratus\n{IDS[2]}\torange\n')
    return tmp_path


def test_classes_are_numbered_by_id_and_named_by_words(root):
    (root / 'train/.cache').mkdir()
    (root / 'train' / IDS[0] / 'images' / f'._{IDS[0]}_0.JPEG').touch()  # which macOS leaves in archives
    train, val = (TinyImageNet(data_root=str(root), split=split) for split in ('train', 'val'))
    assert train.metainfo['classes'] == val.metainfo['classes'] == ('goldfish', IDS[1], 'orange')
    assert [entry['gt_label'] for entry in train] == [0, 0, 1, 1, 2, 2]
    assert TinyImageNet(data_root=str(root), metainfo=dict(classes=tuple('abc'))).metainfo['classes'] == tuple('abc')
    assert [Path(entry['img_path']).name for entry in train][:2] == ['n01443537_0.JPEG', 'n01443537_1.JPEG']
    assert [(Path(entry['img_path']).name, entry['gt_label']) for entry in val] == [
        ('val_0.JPEG', 2),
        ('val_1.JPEG', 1),
        ('val_2.JPEG', 0),
    ]


def test_images_come_out_of_the_config_in_32_pixels(root, use_scope):
    use_scope('mmpretrain')
    config = Config.fromfile(ROOT / 'configs/preactresnet18_tiny-imagenet_sgd.py')
    for loader in (config.train_dataloader, config.val_dataloader):
        data = DATASETS.build({**loader.dataset, 'data_root': str(root)})
        assert data[0]['inputs'].shape == (3, 32, 32)
    image = cv2.imread(data.get_data_info(0)['img_path'])
    halved = image.reshape(32, 2, 32, 2, 3).mean((1, 3)).transpose(2, 0, 1)  # the mean of four pixels, without aliasing
    assert np.abs(data[0]['inputs'].numpy() - halved).max() <= 0.5
    assert config.model.head.num_classes == 200 and config.data_preprocessor.to_rgb


@pytest.mark.parametrize(
    ('break_it', 'split', 'message'),
    [
        (lambda root: None, 'test', "split must be 'train' or 'val'; got 'test'"),
        (lambda root: (root / 'val/val_annotations.txt').unlink(), 'val', 'lacks val/val_annotations.txt'),
        (lambda root: (root / 'train').rename(root / 'elsewhere'), 'train', 'lacks train'),
        (lambda root: (root / 'wnids.txt').write_text(f'{IDS[0]}\n'), 'train', 'names 1 classes'),
        (lambda root: [path.unlink() for path in (root / 'train' / IDS[1]).rglob('*.JPEG')], 'train', 'no .JPEG file'),
        (
            lambda root: (root / 'val/val_annotations.txt').write_text('val_0.JPEG\tn0\n'),
            'val',
            r"line 1 of .*; got 'val_0.JPEG\\tn0'",
        ),
        (lambda root: (root / 'words.txt').write_bytes(b'\xff\xfe'), 'train', 'words.txt cannot be decoded'),
    ],
)
def test_mistakes_are_named(break_it, split, message, root):
    break_it(root)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        TinyImageNet(data_root=str(root), split=split)


@pytest.mark.skipif(not ARCHIVE.is_file(), reason='the sample of Tiny ImageNet is not at hand')
def test_real_data(tmp_path):
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter='data')
    root = str(tmp_path / 'tiny-imagenet-200-subset')
    train, val = (TinyImageNet(data_root=root, split=split) for split in ('train', 'val'))
    assert (len(train), len(val), len(train.metainfo['classes'])) == (10_000, 2_000, 200)
    assert np.bincount([entry['gt_label'] for entry in val]).tolist() == [10] * 200
    assert train.metainfo['classes'][0] == 'goldfish'
    assert all(Path(entry['img_path']).is_file() for entry in val)
