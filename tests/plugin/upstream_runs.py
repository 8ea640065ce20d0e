"""Short runs of configs of other projects: their data replaced by random images, and a witness of every step."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmengine.hub import get_config
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from mmengine.structures import InstanceData, PixelData
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

import samat_mm  # noqa: F401  (registers the wrappers, makes the names of configs resolve)

STEPS = 2
BATCH_SIZE = 2
SHARPNESS_AWARE = {'OptimWrapper': 'SAMOptimWrapper', 'AmpOptimWrapper': 'AmpSAMOptimWrapper'}


def segmentation_sample(inputs: Tensor, numbers: torch.Generator) -> dict:
    """A label map of two classes, which every config has, some pixels unlabelled, and the edges PIDNet asks for."""
    from mmseg.structures import SegDataSample

    size = tuple(inputs.shape[-2:])
    labels = torch.randint(2, (1, *size), generator=numbers)
    labels[:, :2] = 255
    sample = SegDataSample(metainfo={'img_shape': size, 'ori_shape': size})
    sample.gt_sem_seg = PixelData(data=labels)
    sample.gt_edge_map = PixelData(data=torch.randint(2, (1, *size), generator=numbers))
    return {'inputs': inputs, 'data_samples': sample}


def classification_sample(inputs: Tensor, numbers: torch.Generator) -> dict:
    from mmpretrain.structures import DataSample

    label = int(torch.randint(10, (), generator=numbers))
    return {'inputs': inputs, 'data_samples': DataSample().set_gt_label(label)}


def detection_sample(inputs: Tensor, numbers: torch.Generator) -> dict:
    """Two boxes, each half as wide as the image and half as high."""
    from mmdet.structures import DetDataSample
    from mmdet.structures.bbox import HorizontalBoxes

    half = torch.tensor(inputs.shape[:0:-1]) / 2
    corners = torch.rand(2, 2, generator=numbers) * half
    labels = torch.randint(80, (2,), generator=numbers)
    size = tuple(inputs.shape[-2:])
    sample = DetDataSample(metainfo={'img_shape': size, 'ori_shape': size, 'scale_factor': (1.0, 1.0)})
    sample.gt_instances = InstanceData(bboxes=HorizontalBoxes(torch.cat([corners, corners + half], 1)), labels=labels)
    sample.ignored_instances = InstanceData(bboxes=HorizontalBoxes(torch.zeros(0, 4)), labels=labels[:0])
    return {'inputs': inputs, 'data_samples': sample}


def one_view(inputs: Tensor, numbers: torch.Generator) -> dict:
    from mmpretrain.structures import DataSample

    return {'inputs': inputs, 'data_samples': DataSample()}


def two_views(inputs: Tensor, numbers: torch.Generator) -> dict:
    from mmpretrain.structures import DataSample

    return {'inputs': [inputs, inputs.flip(-1)], 'data_samples': DataSample()}


SAMPLES: dict[str, Callable[[Tensor, torch.Generator], dict]] = {
    'segmentation': segmentation_sample,
    'classification': classification_sample,
    'detection': detection_sample,
    'one view': one_view,
    'two views': two_views,
}


@DATASETS.register_module()
class RandomSamples(BaseDataset):
    """Random 8-bit images in the form that a pipeline of the project ends with."""

    def __init__(self, kind: str, count: int, size: int) -> None:
        self.kind, self.count, self.size = kind, count, size
        super().__init__()

    def load_data_list(self) -> list[dict]:
        return [{'number': number, 'width': self.size, 'height': self.size} for number in range(self.count)]

    def prepare_data(self, index: int) -> dict:
        numbers = torch.Generator().manual_seed(index)
        inputs = torch.randint(256, (3, self.size, self.size), generator=numbers, dtype=torch.uint8)
        return SAMPLES[self.kind](inputs, numbers)


def upstream_config(name: str) -> Config:
    """Read the config ``name`` with the one change that is on trial."""
    config = get_config(name)
    config.optim_wrapper.type = SHARPNESS_AWARE[config.optim_wrapper.get('type', 'OptimWrapper')]
    return config


def shrunk(config: Config, kind: str, size: int, work_dir: Path) -> Config:
    """Let the config run for two steps on one CPU without any file: model, optimizer and schedule stay as they are."""
    _without_files_and_processes(config.model)
    if kind == 'segmentation':
        config.model.data_preprocessor.size = (size, size)
    loader = config.train_dataloader
    loader.update(batch_size=BATCH_SIZE, num_workers=0, persistent_workers=False)
    loader.dataset = dict(type='RandomSamples', kind=kind, count=STEPS * BATCH_SIZE, size=size)
    for phase in ('val', 'test'):
        config.update({f'{phase}_{part}': None for part in ('cfg', 'dataloader', 'evaluator')})
    config.default_hooks.checkpoint = None
    config.default_hooks.pop('visualization', None)
    config.update(work_dir=str(work_dir), experiment_name=str(work_dir), log_level='ERROR', randomness=dict(seed=0))
    return config


def _without_files_and_processes(node: Any) -> None:
    if isinstance(node, dict):
        for key in ('pretrained', 'init_cfg'):
            given = node.get(key)
            if isinstance(given, str) or (isinstance(given, dict) and given.get('type') == 'Pretrained'):
                node[key] = None
        if node.get('type') == 'SyncBN':
            node['type'] = 'BN'
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list | tuple) else ():
        _without_files_and_processes(child)


class Witness(Hook):
    """Records weights and buffers whenever a step runs its loss forward or its optimizer."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.forwards: list[int] = []  # loss forwards, a number per step
        self.distances: list[float] = []  # from the weights of the first forward to those of the second
        self.came_back: list[bool] = []  # parameters at optimizer.step are those of the first forward, to the bit
        self.kept_statistics: list[bool] = []  # buffers at optimizer.step are those after the first forward
        self.batches_tracked: list[set[int]] = []  # by how much the counters of batch normalisation went up
        self.losses: list[float] = []

    def before_train(self, runner: Runner) -> None:
        self.model = runner.model
        self.initial = _copies(self.model.named_parameters())
        self.model.register_forward_pre_hook(self._at_forward, with_kwargs=True)
        runner.optim_wrapper.optimizer.register_step_pre_hook(self._at_optimizer_step)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self.forwards.append(0)
        self._counters = self._batch_counters()

    def _at_forward(self, model: nn.Module, args: tuple, kwargs: dict) -> None:
        if kwargs.get('mode') != 'loss':
            return
        self.forwards[-1] += 1
        if self.forwards[-1] == 1:
            self._weights = _copies(model.named_parameters())
        else:
            self._buffers = _copies(model.named_buffers())
            squares = [
                (parameter.detach() - self._weights[name]).double().square().sum()
                for name, parameter in model.named_parameters()
            ]
            self.distances.append(float(torch.stack(squares).sum().sqrt()))

    def _at_optimizer_step(self, *unused: Any) -> None:
        if self.forwards[-1] < 2:
            return
        self.came_back.append(_equal(self._weights, self.model.named_parameters()))
        self.kept_statistics.append(_equal(self._buffers, self.model.named_buffers()))

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        self.losses.append(float((outputs or {})['loss']))
        after = self._batch_counters()
        self.batches_tracked.append({after[name] - before for name, before in self._counters.items()})
        runner.train_loop.stop_training = len(self.losses) == STEPS  # the schedule stays that of the whole run

    def changed_share(self) -> float:
        """Return the share of trained parameters that differ from the initial ones."""
        changed = [
            not torch.equal(self.initial[name], parameter)
            for name, parameter in self.model.named_parameters()
            if parameter.requires_grad
        ]
        return sum(changed) / len(changed)

    def __str__(self) -> str:
        distances = ', '.join(f'{distance:.6f}' for distance in self.distances)
        losses = ', '.join(f'{loss:.3f}' for loss in self.losses)
        tracked = sorted(set().union(*self.batches_tracked)) or 'none'
        return f'distances {distances}; losses {losses}; batches tracked {tracked}; changed {self.changed_share():.3f}'

    def _batch_counters(self) -> dict[str, int]:
        return {
            name: int(module.num_batches_tracked)
            for name, module in self.model.named_modules()
            if isinstance(module, _BatchNorm) and module.training and module.num_batches_tracked is not None
        }


def _copies(named: Any) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in named}


def _equal(kept: dict[str, Tensor], named: Any) -> bool:
    return all(torch.equal(kept[name], value) for name, value in named)


def watched_run(config: Config) -> tuple[Runner, Witness]:
    """Train as ``tools/train.py`` does: ``Runner.from_cfg(config).train()``."""
    runner = Runner.from_cfg(config)
    return runner, watched(runner)


def watched(runner: Runner) -> Witness:
    witness = Witness()
    runner.register_hook(witness)
    runner.train()
    return witness
