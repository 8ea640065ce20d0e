"""The models to measure, with random weights and one batch each, by name and size."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from samat_mm.files.configs import configs_folder


@dataclass(frozen=True)
class Size:
    """The batch size, the image side in pixels, and the batch sizes for measuring throughput."""

    batch: int
    side: int
    batches: tuple[int, ...]


SIZES: dict[str, dict[str, Size]] = {
    'cpu': {
        'resnet18': Size(64, 32, (16, 64)),
        'resnet20': Size(64, 32, (16, 64)),
        'deeplabv3': Size(4, 128, (2, 4)),
        'tiny': Size(4, 32, (2, 4)),
        'tiny-segmentor': Size(2, 32, (2, 3)),
    },
    'cuda': {
        'resnet18': Size(128, 32, (32, 128, 512, 1024)),
        'resnet20': Size(128, 32, (32, 128, 512, 1024)),
        'deeplabv3': Size(8, 512, (2, 8, 32)),
        'tiny': Size(4, 32, (2, 4)),
        'tiny-segmentor': Size(2, 32, (2, 3)),
    },
}


@dataclass
class Workload:
    """A model and one batch of random uint8 images on the device, so steps do not include a copy."""

    title: str
    model: BaseModel
    images: Tensor
    samples: list[Any]

    def batch(self) -> dict[str, Any]:
        """Return the batch as from a data loader; preprocessors write the same values into the samples each time."""
        return {'inputs': self.images, 'data_samples': list(self.samples)}


def workload(name: str, device: str, batch: int | None = None) -> Workload:
    """Return a workload in the size for that device, or with another batch size."""
    size = SIZES[device.partition(':')[0]][name]
    return BUILDERS[name](size if batch is None else replace(size, batch=batch), device)


def sizes(name: str, device: str) -> Size:
    return SIZES[device.partition(':')[0]][name]


def _classifier(config_name: str, title: str, **backbone: int) -> Callable[[Size, str], Workload]:
    def build(size: Size, device: str) -> Workload:
        from mmpretrain.registry import MODELS
        from mmpretrain.structures import DataSample

        config = Config.fromfile(configs_folder() / config_name)
        config.model.backbone.update(backbone)
        model = MODELS.build({**config.model, 'data_preprocessor': config.data_preprocessor}).to(device)
        images = torch.randint(256, (size.batch, 3, size.side, size.side), dtype=torch.uint8).to(device)
        samples = [DataSample().set_gt_label(index % 10).to(device) for index in range(size.batch)]
        return Workload(f'{title}, batch {size.batch}', model, images, samples)

    return build


def _segmentor(config_name: str, title: str) -> Callable[[Size, str], Workload]:
    def build(size: Size, device: str) -> Workload:
        from mmengine.structures import PixelData
        from mmseg.registry import MODELS
        from mmseg.structures import SegDataSample

        config = Config.fromfile(configs_folder() / '_base_' / 'models' / config_name)
        shape = config.model.data_preprocessor.size = (size.side, size.side)
        with DefaultScope.overwrite_default_scope('mmseg'):
            model = MODELS.build(config.model).to(device)
        images = torch.randint(256, (size.batch, 3, *shape), dtype=torch.uint8).to(device)
        samples = []
        for _ in images:
            sample = SegDataSample(metainfo=dict(ori_shape=shape, img_shape=shape, pad_shape=shape))
            sample.gt_sem_seg = PixelData(data=torch.randint(8, (1, *shape)))
            samples.append(sample.to(device))
        return Workload(f'{title}, {size.side} px, batch {size.batch}', model, images, samples)

    return build


BUILDERS: dict[str, Callable[[Size, str], Workload]] = {
    'resnet18': _classifier('resnet18_cifar10_sgd.py', 'ResNet-18 (CIFAR)'),
    'resnet20': _classifier('resnet20_cifar10_sgd.py', 'ResNet-20 (CIFAR)'),
    'deeplabv3': _segmentor('deeplabv3_r50-d16.py', 'DeepLabv3-R50'),
    'tiny': _classifier('resnet20_cifar10_sgd.py', 'ResNet-8 (CIFAR)', depth=8),
    'tiny-segmentor': _segmentor('deeplabv3_r18-small.py', 'DeepLabv3-R18, a quarter of the channels'),
}


def set_statistics(model: nn.Module, inputs: Tensor) -> None:
    """Set the statistics of the normalisation layers from this batch, for sensible activations in evaluation mode."""
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(inputs, mode='tensor')
    for norm in norms:
        norm.momentum = 0.1
    model.eval()
