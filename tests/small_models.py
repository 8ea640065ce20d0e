"""Small models, each with batches to train on, shared by the tests of several modules."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import PixelData
from torch import Tensor, nn
from torch.nn import functional as F

import samat_mm  # noqa: F401  (registers everything)
from samat_mm.perturbations.weights import WEIGHT_PERTURBATION_TYPES
from samat_mm.registry import WEIGHT_PERTURBATIONS

REPOSITORY = Path(__file__).parents[1]
CLASSES = 3


class PlainNet(BaseModel):
    """Convolution, batch normalisation, dropout, linear layer: an mmengine model of no other project."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(4, CLASSES)

    def forward(self, inputs: Tensor, labels: Tensor | None = None, mode: str = 'tensor') -> Any:
        features = F.silu(self.norm(self.conv(inputs))).mean(dim=(2, 3))
        logits = self.head(self.dropout(features))
        return {'loss': F.cross_entropy(logits, labels)} if mode == 'loss' else logits


class SampledNet(PlainNet):
    """The same with a loss module, from which the loss of each sample can be had, and optionally another norm."""

    def __init__(self, dropout: float = 0.0, norm: nn.Module | None = None) -> None:
        super().__init__(dropout)
        self.norm = norm or self.norm
        self.criterion = nn.CrossEntropyLoss()

    def forward(self, inputs: Tensor, labels: Tensor | None = None, mode: str = 'tensor') -> Any:
        logits = super().forward(inputs)
        return {'loss': self.criterion(logits, labels)} if mode == 'loss' else logits


# The settings with which a method shows its effect within a few steps; the first row is for all others in
# WEIGHT_PERTURBATION_TYPES.
SETTINGS: dict[str, dict[str, Any]] = {
    '': dict(rho=0.2),
    'ASAM': dict(rho=0.5),
    'LookSAM': dict(rho=0.2, interval=3),
    'SSAMF': dict(rho=0.2, samples=10, update_interval=3),
    'SSAMD': dict(rho=0.2, update_interval=2),
    'SAMON': dict(rho=0.5),
    'GSAM': dict(rho=0.2, alpha=0.3),
    'WSAM': dict(rho=0.2, gamma=0.6),
    'AWP': dict(rho=0.1),
}
METHODS = [method.__name__ for method in WEIGHT_PERTURBATION_TYPES]
# Every one of them, and compositions.
FAMILY: dict[str, dict[str, Any]] = {
    **{name: dict(perturbation=dict(type=name, **SETTINGS.get(name, SETTINGS['']))) for name in METHODS},
    'SAM of three ascents': dict(perturbation=dict(type='SAM', rho=0.2, steps=3)),
    'SAMON over MSAM': dict(perturbation=dict(type='SAMON', rho=0.5, direction=dict(type='MSAM'))),
    'ESAM by coordinates': dict(perturbation=dict(type='ESAM', rho=0.2, mask='coordinates', selection='loss')),
    'WSAM coupled': dict(perturbation=dict(type='WSAM', rho=0.2, gamma=0.6, form='coupled')),
    'LookSAM over ASAM': dict(perturbation=dict(type='LookSAM', rho=0.5, interval=2, direction=dict(type='ASAM'))),
    'SAMON over FriendlySAM': dict(perturbation=dict(type='SAMON', rho=0.5, direction=dict(type='FriendlySAM'))),
    'ESAM over FisherSAM': dict(perturbation=dict(type='ESAM', rho=0.2, direction=dict(type='FisherSAM'))),
    'ascent in bfloat16': dict(perturbation=dict(type='SAM', rho=0.2), ascent_dtype='bfloat16'),
    'ascent on half': dict(perturbation=dict(type='SAM', rho=0.2), ascent_share=0.5),
    'ASAM on half': dict(perturbation=dict(type='ASAM', rho=0.2), ascent_share=0.5),
}

# Those whose one forward of a step is at the perturbed weights; the first step has none to perturb by.
ONE_PASS = [
    name
    for name, case in FAMILY.items()
    if WEIGHT_PERTURBATIONS.build(copy.deepcopy(case['perturbation'])).start().source is not None
]


def plain_batches(count: int, size: int = 6, dtype: torch.dtype = torch.float64, seed: int = 0) -> list[dict]:
    numbers = torch.Generator().manual_seed(seed)
    return [
        {
            'inputs': torch.randn(size, 2, 5, 5, generator=numbers, dtype=torch.float64).to(dtype),
            'labels': torch.randint(CLASSES, (size,), generator=numbers),
        }
        for _ in range(count)
    ]


def _segmentor() -> BaseModel:
    config = Config.fromfile(REPOSITORY / 'configs/_base_/models/deeplabv3_r18-small.py').model
    config.data_preprocessor.size = (24, 24)
    config.backbone.update(base_channels=4, stem_channels=4)
    config.decode_head.update(in_channels=32, channels=6, num_classes=CLASSES)
    return _build(config, 'mmseg')


def _segmentation_batch(numbers: torch.Generator) -> dict:
    from mmseg.structures import SegDataSample

    samples = [SegDataSample(metainfo={'img_shape': (24, 24)}) for _ in range(4)]
    for sample in samples:
        sample.gt_sem_seg = PixelData(data=torch.randint(CLASSES, (1, 24, 24), generator=numbers))
    return {'inputs': _images(numbers, 4, 24), 'data_samples': samples}


def _classifier() -> BaseModel:
    config = dict(
        type='ImageClassifier',
        data_preprocessor=dict(mean=[120.0] * 3, std=[60.0] * 3, num_classes=CLASSES),
        backbone=dict(type='ResNet_CIFAR', depth=18, base_channels=4, stem_channels=4),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=CLASSES, in_channels=32, loss=dict(type='CrossEntropyLoss')),
    )
    return _build(config, 'mmpretrain')


def _classification_batch(numbers: torch.Generator) -> dict:
    from mmpretrain.structures import DataSample

    labels = torch.randint(CLASSES, (6,), generator=numbers)
    return {
        'inputs': _images(numbers, 6, 16),
        'data_samples': [DataSample().set_gt_label(int(label)) for label in labels],
    }


def _images(numbers: torch.Generator, count: int, size: int) -> list[Tensor]:
    return list(torch.randint(256, (count, 3, size, size), generator=numbers, dtype=torch.uint8))


def _build(config: Any, scope: str) -> BaseModel:
    __import__(f'{scope}.models')
    with DefaultScope.overwrite_default_scope(scope):
        return MODELS.build(config)


@pytest.fixture(scope='session')
def training_case() -> Callable[[str], tuple[BaseModel, list[dict]]]:
    """Return a function from 'plain', 'segmentor' or 'classifier' to a float64 model in training mode and batches."""
    makers = {'segmentor': (_segmentor, _segmentation_batch), 'classifier': (_classifier, _classification_batch)}

    def make(kind: str, batches: int = 10) -> tuple[BaseModel, list[dict]]:
        torch.manual_seed(0)
        if kind == 'plain':
            return PlainNet().double().train(), plain_batches(batches)
        model, batch = makers[kind]
        numbers = torch.Generator().manual_seed(1)
        return model().double().train(), [batch(numbers) for _ in range(batches)]

    return make
