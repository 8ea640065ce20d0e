"""Small models, data sets and runs that the tests of the input side share."""

import itertools
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset, DefaultSampler, pseudo_collate
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, DefaultScope
from mmengine.runner import Runner
from mmengine.structures import PixelData
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import samat_mm  # noqa: F401  (before torchvision, which mmpretrain imports)
from samat_mm.perturbations.inputs import Attack
from samat_mm.registry import ATTACKS

ROOT = Path(__file__).parents[1]
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
CLASSES = 4
_run_numbers = itertools.count()


class TinyClassifier(nn.Module):
    """A convolution with batch normalisation and a linear layer: pixels (N, 3, H, W) to logits (N, 3)."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.convolution = nn.Conv2d(3, 6, 3, padding=1)
        self.normalisation = nn.BatchNorm2d(6)
        self.linear = nn.Linear(6, 3)
        _unequal_statistics(self)

    def forward(self, pixels: Tensor) -> Tensor:
        features = torch.tanh(4 * self.normalisation(self.convolution(pixels)))
        return 5 * self.linear(features.mean((2, 3)))


class TinySegmentor(nn.Module):
    """A 3x3 and a 1x1 convolution: pixels (N, 3, H, W) to logits (N, 4, H, W).

    Zeros around the image equal the padding of the first convolution, so padding with zeros changes no logit.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.convolution = nn.Conv2d(3, 6, 3, padding=1)
        self.normalisation = nn.BatchNorm2d(6)
        self.head = nn.Conv2d(6, CLASSES, 1)
        _unequal_statistics(self)

    def forward(self, pixels: Tensor) -> Tensor:
        return 5 * self.head(torch.tanh(4 * self.normalisation(self.convolution(pixels))))


def _unequal_statistics(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    model.eval()


def attack_names() -> list[str]:
    """Return the registered attacks on images that a norm and a radius make: not ScaledLogits, which runs another."""
    on_images = {name for name, cls in ATTACKS.module_dict.items() if issubclass(cls, Attack)}
    return sorted(on_images - {'ScaledLogits'})


def images(*shape: int, seed: int = 0) -> Tensor:
    """Pixels in [0, 1], some of them at the very ends."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=generator) * 1.2 - 0.1).clamp(0, 1)


def labels(*shape: int, classes: int, seed: int = 0) -> Tensor:
    return torch.randint(classes, shape, generator=torch.Generator().manual_seed(seed))


def raw_images(count: int, height: int, width: int, seed: int = 0) -> list[Tensor]:
    """8-bit images (3, H, W) as a data set gives them."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(256, (3, height, width), generator=generator, dtype=torch.uint8) for _ in range(count)]


# ---------------------------------------------------------------------------------------------- OpenMMLab models


def segmentor(preprocessor: dict | None = None, seed: int = 0, **changes: Any) -> nn.Module:
    """DeepLabv3 of configs/_base_/models/deeplabv3_r18-small.py, with a sixteenth of its channels."""
    from mmseg.registry import MODELS

    config = segmentor_config()
    config['data_preprocessor'].update(preprocessor or {})
    config.merge_from_dict(changes)
    torch.manual_seed(seed)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(config)
    return _calibrated(model)


def segmentor_config() -> Any:
    config = Config.fromfile(ROOT / 'configs' / '_base_' / 'models' / 'deeplabv3_r18-small.py').model
    config.data_preprocessor.size = (32, 32)
    config.backbone.update(base_channels=4, stem_channels=4)
    config.decode_head.update(in_channels=32, channels=8, num_classes=CLASSES)
    return Config(config)


def classifier(preprocessor: dict | None = None, seed: int = 0, **changes: Any) -> nn.Module:
    """mmpretrain's ResNet-18 for CIFAR with a sixteenth of its channels."""
    from mmpretrain.registry import MODELS

    config = classifier_config()
    config['data_preprocessor'].update(preprocessor or {})
    config.merge_from_dict(changes)
    torch.manual_seed(seed)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(config)
    return _calibrated(model)


def classifier_config() -> Any:
    return Config(
        dict(
            type='ImageClassifier',
            data_preprocessor=dict(type='ClsDataPreprocessor', mean=MEAN, std=STD, to_rgb=True, num_classes=CLASSES),
            backbone=dict(
                type='ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4, num_stages=4, out_indices=(3,)
            ),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=CLASSES, in_channels=32, loss=dict(type='CrossEntropyLoss')),
        )
    )


def _calibrated(model: nn.Module) -> nn.Module:
    """Set the statistics of batch normalisation from random images, so predictions vary with the image."""
    model.train()
    bands = next(module.in_channels for module in model.modules() if isinstance(module, nn.Conv2d))
    with torch.no_grad():
        for seed in range(8):
            model(torch.randn(4, bands, 32, 32, generator=torch.Generator().manual_seed(seed)), mode='tensor')
    for module in model.modules():
        module._is_init = True  # MMEngine's training loop would draw the weights anew
    return model.eval()


def segmentation_sample(label: Tensor, **metainfo: Any) -> Any:
    """A data sample with the label map (H, W)."""
    from mmseg.structures import SegDataSample

    size = tuple(label.shape)
    sample = SegDataSample(metainfo={'ori_shape': size, 'img_shape': size, **metainfo})
    sample.gt_sem_seg = PixelData(data=label[None])
    return sample


def classification_sample(label: int, **metainfo: Any) -> Any:
    from mmpretrain.structures import DataSample

    return DataSample(metainfo=metainfo).set_gt_label(label)


# ------------------------------------------------------------------------------------------------ data and runs


class SegmentationImages(Dataset):
    """Random images in memory with random label maps, some pixels unlabelled."""

    metainfo: ClassVar[dict] = {
        'classes': tuple('abcd'),
        'palette': [[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]],
    }

    def __init__(self, count: int, size: int = 32, seed: int = 0) -> None:
        self.raw = raw_images(count, size, size, seed)
        self.labels = [labels(size, size, classes=CLASSES, seed=seed + index) for index in range(count)]
        for label in self.labels:
            label[:2] = 255

    def __len__(self) -> int:
        return len(self.raw)

    def __getitem__(self, index: int) -> dict:
        sample = segmentation_sample(self.labels[index].clone(), img_path=f'image{index}.png')
        return {'inputs': self.raw[index].clone(), 'data_samples': sample}


class ClassificationImages(Dataset):
    """Random images in memory with random labels."""

    metainfo: ClassVar[dict] = {'classes': tuple('abcd')}

    def __init__(self, count: int, size: int = 32, seed: int = 0) -> None:
        self.raw = raw_images(count, size, size, seed)
        self.labels = labels(count, classes=CLASSES, seed=seed).tolist()

    def __len__(self) -> int:
        return len(self.raw)

    def __getitem__(self, index: int) -> dict:
        sample = classification_sample(self.labels[index], img_path=f'image{index}.png')
        return {'inputs': self.raw[index].clone(), 'data_samples': sample}


@DATASETS.register_module()
class RegisteredImages(BaseDataset):
    """:class:`SegmentationImages` for configs."""

    METAINFO = SegmentationImages.metainfo

    def __init__(self, count: int, **kwargs: Any) -> None:
        self.count = count
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict]:
        return [{'number': index} for index in range(self.count)]

    def prepare_data(self, index: int) -> dict:
        return SegmentationImages(self.count)[self.get_data_info(index)['number']]


@DATASETS.register_module()
class RegisteredLabelledImages(RegisteredImages):
    """:class:`ClassificationImages` for configs."""

    METAINFO = ClassificationImages.metainfo

    def prepare_data(self, index: int) -> dict:
        return ClassificationImages(self.count)[self.get_data_info(index)['number']]


def labelled_by(model: nn.Module, data: SegmentationImages | ClassificationImages) -> Any:
    """Return the data set with the model's predictions as labels, so its clean metrics are perfect."""
    for index in range(len(data)):
        batch = model.data_preprocessor(pseudo_collate([data[index]]), False)
        with torch.no_grad():
            (result,) = model.forward(**batch, mode='predict')
        if isinstance(data, ClassificationImages):
            data.labels[index] = int(result.pred_label)
        else:
            data.labels[index] = result.pred_sem_seg.data[0].long()
    return data


def loader(data: Dataset, batch_size: int) -> DataLoader:
    """Batches in the order of the data set, as MMEngine collates them, the last one possibly smaller."""
    sampler = DefaultSampler(data, shuffle=False)
    return DataLoader(data, batch_size=batch_size, sampler=sampler, collate_fn=pseudo_collate)


def runner(
    model: nn.Module,
    work_dir: Path,
    *,
    train: Dataset | None = None,
    evaluate: Dataset | None = None,
    batch_size: int = 2,
    iterations: int = 3,
    optim_wrapper: dict | None = None,
    hooks: tuple | list = (),
    named_hooks: dict | None = None,
    checkpoint: dict | None = None,
    evaluator: Any = None,
    eval_batch_size: int = 2,
    val_interval: int = 10**6,
    **more: Any,
) -> Runner:
    """A run of a few iterations without scheduler and without output."""
    is_segmentor = hasattr(model, 'decode_head')
    evaluator = evaluator or (
        dict(type='mmseg.IoUMetric', iou_metrics=['mIoU']) if is_segmentor else dict(type='mmpretrain.Accuracy')
    )
    parts: dict[str, Any] = {}
    if train is not None:
        parts.update(
            train_dataloader=loader(train, batch_size),
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=iterations, val_interval=val_interval),
            optim_wrapper=optim_wrapper or dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1)),
        )
    if evaluate is not None:
        for phase in ('val', 'test'):
            parts[f'{phase}_dataloader'] = loader(evaluate, eval_batch_size)
            parts[f'{phase}_evaluator'] = evaluator
            parts[f'{phase}_cfg'] = dict(type='ValLoop' if phase == 'val' else 'TestLoop')
    return Runner(
        model,
        str(work_dir),
        custom_hooks=list(hooks),
        default_hooks={
            'checkpoint': checkpoint,
            'logger': dict(type='LoggerHook', interval=1),
            'sampler_seed': None,
            'runtime_info': dict(type='RuntimeInfoHook'),
            **(named_hooks or {}),
        },
        default_scope='mmseg' if is_segmentor else 'mmpretrain',
        log_level='ERROR',
        log_processor=dict(by_epoch=False),
        experiment_name=f'test_{next(_run_numbers)}',
        randomness=dict(seed=0),
        **{**parts, **more},
    )


class Recorder(Hook):
    """Keeps the arguments of the model's loss forward at every call, and the losses."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.inputs: list[Tensor] = []
        self.labels: list[Any] = []

    def before_train(self, runner: Runner) -> None:
        # Deeper than the outermost module, to see the effect of other hooks.
        runner.model.backbone.register_forward_pre_hook(self._record)

    def _record(self, module: nn.Module, args: tuple) -> None:
        if module.training:
            self.inputs.append(args[0].detach().clone())


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


def assert_same_state(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    different = [key for key in first if not torch.equal(first[key], second[key])]
    assert not different, f'{len(different)} entries differ, {different[:3]} among them'


class RandomState:
    """The state of every global generator, for comparison."""

    def __init__(self) -> None:
        import random

        self.torch, self.numpy, self.python = torch.get_rng_state(), np.random.get_state(), random.getstate()

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, RandomState)
            and torch.equal(self.torch, other.torch)
            and self.python == other.python
            and all(np.array_equal(a, b) for a, b in zip(self.numpy, other.numpy, strict=True))
        )

    __hash__ = None
