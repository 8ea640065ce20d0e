"""Configs of other projects train sharpness-aware with nothing changed but ``optim_wrapper.type``."""

import copy
import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.hub import get_config
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from small_models import PlainNet, plain_batches
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader
from upstream_runs import STEPS, RandomSamples, Witness, shrunk, upstream_config, watched, watched_run

from samat_mm.engine.optim_wrappers import AmpSAMOptimWrapper, SAMOptimWrapper, SharpnessAwareMixin
from samat_mm.perturbations.inputs import PGD, CrossEntropy
from samat_mm.pixels.pixel_space import PixelSpace

pytestmark = pytest.mark.filterwarnings('ignore::UserWarning')  # of the projects, about their own configs
RHO = 0.05
# Relative. What is left is the rounding of w + offset in float32: 9.8e-4 of rho with the 9e7 weights of ViT-B/32.
TOLERANCE = 2e-3
KINDS = {'mmseg': 'segmentation', 'mmpretrain': 'classification', 'mmdet': 'detection'}
needs_mmdet = pytest.mark.skipif(
    find_spec('mmdet') is None, reason='mmdet is not installed, see docs/reference/compatibility.md'
)


def case(config: str, kind: str = '', size: int = 32, slow: bool = False) -> Any:
    project = config.partition(':')[0]
    marks = [pytest.mark.slow] * slow + [needs_mmdet] * (project == 'mmdet')
    name = config.rpartition('/')[2].removesuffix('.py')
    return pytest.param(config, kind or KINDS[project], size, id=name, marks=marks)


CONFIGS = [
    case('mmseg::deeplabv3/deeplabv3_r18-d8_4xb2-80k_cityscapes-512x1024.py'),
    case('mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py', slow=True),
    case('mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py', size=64),
    case('mmseg::unet/unet-s5-d16_fcn_4xb4-ce-1.0-dice-3.0-40k_drive-64x64.py', slow=True),
    case('mmseg::bisenetv2/bisenetv2_fcn_4xb4-160k_cityscapes-1024x1024.py', slow=True),
    case('mmseg::ocrnet/ocrnet_hr18_4xb2-40k_cityscapes-512x1024.py', slow=True),
    case('mmseg::swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py', size=64, slow=True),
    case('mmseg::segnext/segnext_mscan-t_1xb16-adamw-160k_ade20k-512x512.py'),
    case('mmseg::fastscnn/fast_scnn_8xb4-160k_cityscapes-512x1024.py', size=64),
    case('mmseg::pidnet/pidnet-s_2xb6-120k_1024x1024-cityscapes.py', size=64),
    case('mmseg::knet/knet-s3_r50-d8_fcn_8xb2-adamw-80k_ade20k-512x512.py', size=64, slow=True),
    case('mmseg::stdc/stdc1_4xb12-80k_cityscapes-512x1024.py', size=64),
    case('mmseg::segmenter/segmenter_vit-t_mask_8xb1-160k_ade20k-512x512.py', size=64),
    case('mmseg::convnext/convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512.py', size=64, slow=True),
    case('mmpretrain::resnet/resnet50_8xb32_in1k.py'),
    case('mmpretrain::mobilenet_v3/mobilenet-v3-small_8xb128_in1k.py', size=64),
    case('mmpretrain::vision_transformer/vit-base-p32_64xb64_in1k.py', slow=True),
    case('mmpretrain::swin_transformer/swin-tiny_16xb64_in1k.py', size=224, slow=True),
    case('mmpretrain::convnext/convnext-tiny_32xb128_in1k.py', slow=True),
    case('mmpretrain::deit/deit-tiny-distilled_4xb256_in1k.py'),
    case('mmpretrain::efficientnet/efficientnet-b0_8xb32_in1k.py', size=64),
    case('mmpretrain::mlp_mixer/mlp-mixer-base-p16_64xb64_in1k.py', size=224, slow=True),
    case('mmpretrain::simclr/simclr_resnet50_8xb32-coslr-200e_in1k.py', 'two views', slow=True),
    case('mmpretrain::mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py', 'one view', size=224, slow=True),
    case('mmpretrain::mae/benchmarks/vit-base-p16_8xb128-coslr-100e_in1k.py', slow=True),
    case('mmdet::retinanet/retinanet_r18_fpn_1x_coco.py', size=64, slow=True),
    case('mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', size=64, slow=True),
    case('mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py', size=64, slow=True),
    case('mmdet::yolox/yolox_tiny_8xb8-300e_coco.py', size=64, slow=True),
    case('mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py', size=64, slow=True),
    case('mmdet::detr/detr_r50_8xb2-150e_coco.py', size=64, slow=True),
]


@pytest.mark.parametrize(('name', 'kind', 'size'), CONFIGS)
def test_an_upstream_config_trains(name: str, kind: str, size: int, tmp_path: Path) -> None:
    config = shrunk(upstream_config(name), kind, size, tmp_path)
    upstream = get_config(name).optim_wrapper
    runner, witness = watched_run(config)
    print(f'witness of {name}: {witness}')  # pytest -rP shows it
    assert {**runner.cfg.optim_wrapper, 'type': None} == {**upstream, 'type': None}
    assert type(runner.optim_wrapper.optimizer).__name__ == upstream.optimizer.type
    mixed_precision = upstream.get('type') == 'AmpOptimWrapper'
    assert type(runner.optim_wrapper) is (AmpSAMOptimWrapper if mixed_precision else SAMOptimWrapper)
    if kind in ('segmentation', 'classification'):
        assert_attacks_aim_at_its_decision(runner, kind, size)
    # OCRNet runs its first head twice in a forward: for that head's own loss, and as an input of the second head.
    assert_two_sharpness_aware_steps(runner, witness, batches={1, 2} if 'ocrnet' in name else {1})


def assert_attacks_aim_at_its_decision(runner: Runner, kind: str, size: int) -> None:
    """Whatever the head: the labels that the task gives are those of ``predict``, and an attack raises their loss."""
    model, data = runner.model, RandomSamples(kind, 2, size)
    raw = pseudo_collate([data[index] for index in range(2)])
    prepared = model.data_preprocessor(copy.deepcopy(raw), False)
    for module in model.modules():  # after two steps, averages are far from the statistics of any image
        if isinstance(module, _BatchNorm):
            module.reset_running_stats()
            module.momentum = None
    with torch.no_grad():
        model.train().forward(prepared['inputs'], mode='tensor')
    model.eval()
    space = PixelSpace(model, raw['inputs'], prepared['inputs'], prepared['data_samples'])
    assert type(space.task).__name__.lower() == kind
    space.task.check(model, space.inputs, space.samples)
    attack = PGD('linf', '2/255', steps=3, step_size='0.5/255', random_start=False)
    pixels = space.attack(attack, range(2))
    losses = [space.task.logits(model, space.to_inputs(x), space.samples) for x in (space.pixels, pixels)]
    target = space.task.target(space.samples, pixels.device)
    clean, attacked = (CrossEntropy()(logits, target, 0, 1) for logits in losses)
    assert (attacked >= clean).all()
    assert (attacked > clean).any()


WITHOUT_SAMPLE_LOSSES = ('pidnet', 'simclr', 'mae_vit')  # boundary, contrastive and reconstruction losses


@pytest.mark.slow
@pytest.mark.parametrize(('name', 'kind', 'size'), CONFIGS)
def test_esam_finds_the_losses_of_samples(name: str, kind: str, size: int, tmp_path: Path) -> None:
    """Three forwards with a selection; two where the loss of the model is not a mean over samples."""
    config = shrunk(upstream_config(name), kind, size, tmp_path)
    config.optim_wrapper.type = config.optim_wrapper.type.replace('SAM', 'ESAM')
    _, witness = watched_run(config)
    found = not name.startswith('mmdet') and not any(model in name for model in WITHOUT_SAMPLE_LOSSES)
    assert witness.forwards == [3 if found else 2] * STEPS
    assert all(math.isfinite(loss) for loss in witness.losses)


def assert_two_sharpness_aware_steps(runner: Runner, witness: Witness, batches: set[int]) -> None:
    assert isinstance(runner.optim_wrapper, SharpnessAwareMixin)
    assert witness.forwards == [2] * STEPS
    assert witness.distances == pytest.approx([RHO] * STEPS, rel=TOLERANCE)
    assert witness.came_back == [True] * STEPS
    assert witness.kept_statistics == [True] * STEPS
    assert witness.batches_tracked in ([batches] * STEPS, [set()] * STEPS)  # the latter: no layer of that kind trains
    assert all(math.isfinite(loss) for loss in witness.losses)
    assert all(parameter.isfinite().all() for parameter in runner.model.parameters())
    assert witness.changed_share() > 0.5  # a warm-up starts with steps that do not move a float32 of 1


class SmallDetector(BaseModel):
    """Two levels, a loss each for classes and boxes, images of several sizes, and a value that is not a loss."""

    def __init__(self) -> None:
        super().__init__(dict(type='ImgDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3, pad_size_divisor=8))
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.levels = nn.ModuleList(nn.Conv2d(8, 8, 3, stride=2, padding=1) for _ in range(2))
        self.classes, self.boxes = nn.Conv2d(8, 3, 1), nn.Conv2d(8, 4, 1)

    def forward(self, inputs: Tensor, data_samples: list[InstanceData], mode: str = 'tensor') -> Any:
        features, outputs = self.stem(inputs), []
        for level in self.levels:
            features = level(features).relu()
            outputs.append((self.classes(features).mean((2, 3)), self.boxes(features).mean((2, 3))))
        if mode != 'loss':
            return outputs
        labels = torch.stack([sample.labels[0] for sample in data_samples])
        boxes = torch.stack([sample.bboxes[0] for sample in data_samples])
        return {
            'loss_cls': [F.cross_entropy(scores, labels) for scores, _ in outputs],
            'loss_bbox': [F.l1_loss(predicted, boxes, reduction='none') for _, predicted in outputs],
            'accuracy': (outputs[0][0].argmax(1) == labels).float().mean(),
        }


def detection_loader() -> DataLoader:
    numbers = torch.Generator().manual_seed(0)
    samples = [
        {
            'inputs': torch.randint(256, (3, 24 + 4 * index, 32), generator=numbers, dtype=torch.uint8),
            'data_samples': InstanceData(
                labels=torch.randint(3, (1,), generator=numbers), bboxes=torch.rand(1, 4, generator=numbers)
            ),
        }
        for index in range(4)
    ]
    return DataLoader(samples, batch_size=2, collate_fn=pseudo_collate)


def plain_loader() -> DataLoader:
    (batch,) = plain_batches(1, size=4 * STEPS, dtype=torch.float32)
    return DataLoader(
        [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)], batch_size=4
    )


@pytest.mark.parametrize('wrapper', ['SAMOptimWrapper', 'AmpSAMOptimWrapper'])
@pytest.mark.parametrize(
    ('model', 'loader'), [(PlainNet, plain_loader), (SmallDetector, detection_loader)], ids=['plain', 'detector']
)
def test_a_model_of_no_project_trains(model: Any, loader: Any, wrapper: str, tmp_path: Path) -> None:
    runner = Runner(
        model(),
        str(tmp_path),
        train_dataloader=loader(),
        train_cfg=dict(by_epoch=False, max_iters=STEPS),
        optim_wrapper=dict(type=wrapper, optimizer=dict(type='SGD', lr=0.1), clip_grad=dict(max_norm=1.0)),
        default_hooks=dict(checkpoint=None),
        log_level='ERROR',
        experiment_name=str(tmp_path),
        randomness=dict(seed=0),
    )
    witness = watched(runner)
    assert type(runner.optim_wrapper) is OPTIM_WRAPPERS.get(wrapper)
    assert_two_sharpness_aware_steps(runner, witness, batches={1})


# What the assertions above are worth: each run here must fail one of them


def test_the_witness_sees_a_plain_optimizer(tmp_path: Path) -> None:
    name = 'mmpretrain::mobilenet_v3/mobilenet-v3-small_8xb128_in1k.py'
    config = shrunk(upstream_config(name), 'classification', 32, tmp_path)
    config.optim_wrapper.type = 'OptimWrapper'
    runner, witness = watched_run(config)
    assert type(runner.optim_wrapper) is OptimWrapper
    assert witness.forwards == [1] * STEPS
    assert witness.distances == []


# What is refused


def resnet_config(tmp_path: Path, **changes: Any) -> Config:
    config = shrunk(upstream_config('mmpretrain::resnet/resnet18_8xb32_in1k.py'), 'classification', 32, tmp_path)
    config.model.backbone.update(changes)
    return config


def test_activation_checkpointing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='has with_cp=True'):
        watched_run(resnet_config(tmp_path, with_cp=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    'name',
    [
        'mmpretrain::mocov2/mocov2_resnet50_8xb32-coslr-200e_in1k.py',
        'mmpretrain::byol/byol_resnet50_16xb256-coslr-200e_in1k.py',
    ],
    ids=['mocov2', 'byol'],
)
def test_a_momentum_encoder_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match='momentum encoder'):
        watched_run(shrunk(upstream_config(name), 'two views', 32, tmp_path))
