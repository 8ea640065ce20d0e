from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import DATASETS

import samat_mm  # noqa: F401  (lets torchvision be imported)

CONFIGS = Path(__file__).parents[2] / 'configs/_base_/datasets'


@pytest.fixture(autouse=True)
def mmpretrain_scope(use_scope):
    use_scope('mmpretrain')


def test_crops_are_padded_by_reflection():
    config = Config.fromfile(CONFIGS / 'cifar10.py')
    crop = Compose(config.train_pipeline[:2])
    image = np.random.default_rng(0).integers(1, 256, (32, 32, 3), np.uint8)
    padded = np.pad(image, ((4, 4), (4, 4), (0, 0)), mode='reflect')
    windows = {padded[y : y + 32, x : x + 32].tobytes() for y in range(9) for x in range(9)}
    np.random.seed(0)
    seen = {np.ascontiguousarray(crop(dict(img=image))['img']).tobytes() for _ in range(1000)}
    assert seen == windows


@pytest.mark.parametrize(('name', 'classes'), [('cifar10', 10), ('cifar100', 100)])
def test_missing_files_are_said_and_not_fetched(name, classes, tmp_path):
    config = Config.fromfile(CONFIGS / f'{name}.py')
    assert config.data_preprocessor.num_classes == classes
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        assert loader.batch_size == 128 and loader.dataset.data_root == f'data/{name}'
        settings = loader.dataset.copy()
        settings.data_root = str(tmp_path)
        with pytest.raises(RuntimeError, match=f'Cannot find {name.upper()} dataset in {tmp_path}'):
            DATASETS.build(settings)
