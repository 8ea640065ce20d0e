"""Steps that leave an accelerator busy: the host looks at no value that it does not need."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from device_waits import DeviceWait, device_waits, no_device_waits
from helpers import ClassificationImages, SegmentationImages, classifier, pseudo_collate, segmentor
from mmengine.optim import build_optim_wrapper
from small_models import FAMILY, plain_batches
from torch import Tensor, nn

sys.path += [str(Path(__file__).parent / folder) for folder in ('engine', 'perturbations')]
from test_attacks import build, every_attack, problem
from test_classification_attacks import Fragile, smooth_images
from test_family_contract import net, wrap

from samat_mm.perturbations.inputs import PGD
from samat_mm.pixels.pixel_space import PixelSpace

# How often a step waits. Which samples are hurt most, and whether there are losses of samples at all, decides what the
# second pass runs on: ESAM looks at the losses of the first forward, and at those of a forward to select by.
WAITS = {'ESAM': 2, 'ESAM over FisherSAM': 2, 'ESAM by coordinates': 1}


def everything(model: nn.Module, wrapper: Any) -> list:
    memory = [wrapper.optimizer.state_dict()['state'], wrapper.method.state_dict()]
    return [list(model.parameters()), list(model.buffers()), memory]


@pytest.mark.parametrize('case', FAMILY)
def test_a_step_waits_only_where_its_method_needs_to_know(case: str) -> None:
    """The masks of SSAM are left as they are for these steps: to make one, the method counts."""
    model = net(torch.float32)
    perturbation = dict(FAMILY[case]['perturbation'])
    if 'SSAM' in case:
        perturbation['update_interval'] = 100
    wrapper = wrap(model, case, perturbation=perturbation)
    batches = plain_batches(7, dtype=torch.float32)
    for batch in batches[:3]:
        model.train_step(batch, wrapper)
    for batch in batches[3:]:
        with device_waits([everything(model, wrapper), batch]) as found:
            model.train_step(batch, wrapper)
        assert len(found) == WAITS.get(case, 0), found


@pytest.mark.parametrize(('enabled', 'waits'), [(False, 0), (True, 1)])
def test_a_step_in_mixed_precision_waits_for_an_overflow_alone(enabled: bool, waits: int) -> None:
    """That of the first pass, by which a memory must not be spoilt; without a loss scale there is none to look for."""
    model, sgd = net(torch.float32), dict(type='SGD', lr=0.1)
    precision = dict(dtype='bfloat16', loss_scale=dict(enabled=enabled))
    wrapper = build_optim_wrapper(model, dict(type='AmpSAMOptimWrapper', optimizer=sgd, **precision))
    batches = plain_batches(3, dtype=torch.float32)
    model.train_step(batches[0], wrapper)
    for batch in batches[1:]:
        with device_waits([everything(model, wrapper), batch]) as found:
            model.train_step(batch, wrapper)
        assert len(found) == waits, found


def test_a_new_mask_of_ssam_waits_once() -> None:
    model = net(torch.float32)
    wrapper = wrap(model, 'SSAMD')  # a new one at every second step
    waits = []
    for batch in plain_batches(5, dtype=torch.float32):
        with device_waits([everything(model, wrapper), batch]) as found:
            model.train_step(batch, wrapper)
        waits.append(len(found))
    assert waits == [0, 0, 1, 0, 1]


def waits_of(attack: Any, model: nn.Module, inputs: Tensor, target: Tensor) -> list[str]:
    tensors = [list(model.parameters()), list(model.buffers()), inputs, target]
    with device_waits(tensors) as found:
        attack(model, inputs, target)
    return found


@every_attack
def test_a_gradient_attack_waits_as_often_whatever_its_steps(name: str, norm: str) -> None:
    """For the range of the pixels, for the range of the labels at each start, and for non-finite values at the end."""
    few, many = (waits_of(build(name, norm, steps=steps, random_start=True), *problem(name)) for steps in (10, 20))
    assert few == many
    # SEA is three attacks of three stages; the one step of FGSM is the first and the last.
    assert len(few) == {'SEA': 15, 'FGSM': 4}.get(name, 3), few


@pytest.mark.parametrize('goal', ['loss', 'error'])
def test_an_attack_for_errors_waits_once_a_step(goal: str) -> None:
    """Images on which the model errs drop out of the batch, whose size the host must know."""
    model, inputs = Fragile(), smooth_images(4)
    target = model(inputs).argmax(1)
    few, many = (len(waits_of(PGD('linf', 1e-4, steps=steps, goal=goal), model, inputs, target)) for steps in (3, 8))
    assert many - few == (5 if goal == 'error' else 0)


@pytest.mark.parametrize(
    ('make', 'data'), [(classifier, ClassificationImages(3)), (segmentor, SegmentationImages(3))], ids=['cls', 'seg']
)
def test_the_way_through_an_openmmlab_model_waits_as_often_whatever_the_steps(make: Any, data: Any) -> None:
    """Beside the above, for the range of the images and of the statistics of the data preprocessor."""
    model, raw = make(), [entry['inputs'] for entry in data]
    batch = model.data_preprocessor(pseudo_collate(list(data)), True)
    samples = batch['data_samples']
    own = [sample.gt_sem_seg.data if 'gt_sem_seg' in sample else sample.gt_label for sample in samples]
    waits = []
    for steps in (2, 5):
        with device_waits([list(model.parameters()), list(model.buffers()), batch['inputs'], own]) as found:
            PixelSpace(model, raw, batch['inputs'], samples).attack(PGD(steps=steps), range(3), training=True)
        waits.append(found)
    assert waits[0] == waits[1]
    assert len(waits[0]) == 5, waits[0]


@pytest.mark.parametrize(
    'read',
    [
        float,
        bool,
        torch.Tensor.tolist,
        lambda x: x.sum().cpu(),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: torch.equal(x, x + 1),
        lambda x: x.masked_select(x > 0),
        lambda x: x.unique(),
        lambda x: x.reshape(1).repeat_interleave((x > 0).long().reshape(1)),
        lambda x: torch.zeros(()).to(x),
        lambda x: torch.zeros(()).copy_(x),
        lambda x: x.clone().copy_(torch.zeros(())),
        lambda x: x.reshape(1)[torch.tensor([0])],
        lambda x: x.new_tensor([1.0]),
    ],
)
def test_a_wait_is_seen(read: Any) -> None:
    value = torch.tensor(2.0)
    with pytest.raises(DeviceWait), no_device_waits([value]):
        read(value * 1)
    with no_device_waits([torch.tensor(1.0)]):
        read(value * 1)  # of the host


def test_what_does_not_wait_passes() -> None:
    value = torch.arange(4.0)
    with no_device_waits([value]):
        moved = torch.ones(4).to(value, non_blocking=True) + value
        moved[value.argsort()] = value
        moved.index_fill_(0, value.long(), 1.0).masked_fill_(value > 2, 0).add_(torch.tensor(1.0))
        assert not moved.is_cpu
    assert moved.is_cpu
