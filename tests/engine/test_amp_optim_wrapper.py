"""Sharpness-aware steps in mixed precision: what the loss scaler sees, and what an overflow leaves behind."""

import copy
import math
from typing import Any

import pytest
import torch
from mmengine.device import get_device
from mmengine.optim import build_optim_wrapper
from small_models import PlainNet, plain_batches
from torch import Tensor, nn

SGD = dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=1e-2)
INITIAL_SCALE = 2.0**16
both_methods = pytest.mark.parametrize('kind', ['AmpSAMOptimWrapper', 'AmpASAMOptimWrapper'])


def wrap(model: nn.Module, **config: Any) -> Any:
    config.setdefault('type', 'AmpSAMOptimWrapper')
    return build_optim_wrapper(model, dict(optimizer=SGD, **config))


def net(dtype: torch.dtype = torch.float32, **config: Any) -> PlainNet:
    torch.manual_seed(0)
    return PlainNet(**config).to(get_device(), dtype).train()


def train(model: PlainNet, wrapper: Any, batches: list[dict]) -> PlainNet:
    for batch in batches:
        model.train_step(batch, wrapper)
    return model


def assert_bitwise_same(model: nn.Module, reference: nn.Module) -> None:
    for (name, value), expected in zip(model.state_dict().items(), reference.state_dict().values(), strict=True):
        assert torch.equal(value, expected), name


# The scale and the precision


@both_methods
@pytest.mark.parametrize('counts', [1, 2])
def test_without_anything_to_cast_it_is_the_full_precision_wrapper(kind: str, counts: int) -> None:
    """Autocast leaves float64 alone, and scaling by a power of two is exact: the trajectories are bitwise equal."""
    model, reference = net(torch.float64), net(torch.float64)
    train(model, wrap(model, type=kind, rho=0.2, accumulative_counts=counts), plain_batches(10))
    plain = wrap(reference, type=kind.removeprefix('Amp'), rho=0.2, accumulative_counts=counts)
    assert_bitwise_same(model, train(reference, plain, plain_batches(10)))


@both_methods
@pytest.mark.parametrize('clip', [None, dict(max_norm=0.01)])
def test_the_radius_does_not_feel_the_loss_scale(kind: str, clip: dict | None) -> None:
    batches = plain_batches(10, dtype=torch.float32)
    models = []
    for scale in (1.0, 1024.0):
        model = net()
        wrapper = wrap(model, type=kind, rho=0.2, dtype='bfloat16', loss_scale=scale, clip_grad=copy.deepcopy(clip))
        models.append(train(model, wrapper, batches))
        assert wrapper.loss_scaler.get_scale() == scale
    assert_bitwise_same(*models)


def test_both_passes_run_in_the_lower_precision() -> None:
    model = net()
    seen = []
    model.conv.register_forward_hook(lambda module, args, output: seen.append(output.dtype))
    train(model, wrap(model, rho=0.2, dtype='bfloat16'), plain_batches(1, dtype=torch.float32))
    assert seen == [torch.bfloat16] * 2
    assert model.conv.weight.dtype == torch.float32


def test_the_second_pass_casts_the_displaced_weights() -> None:
    """Autocast caches its casts; a stale one would make the second pass a copy of the first."""
    model = net()
    outputs = []
    model.conv.register_forward_hook(lambda module, args, output: outputs.append(output.detach().clone()))
    train(model, wrap(model, rho=2.0, dtype='bfloat16'), plain_batches(1, dtype=torch.float32))
    assert float((outputs[0] - outputs[1]).abs().max()) > 0.05


@both_methods
@pytest.mark.parametrize('dtype', [None, 'bfloat16', torch.bfloat16])
def test_radius_zero_is_the_plain_amp_wrapper_bit_for_bit(kind: str, dtype: Any) -> None:
    batches = plain_batches(10, dtype=torch.float32)
    model, reference = net(), net()
    train(model, wrap(model, type=kind, rho=0, dtype=dtype), batches)
    train(reference, wrap(reference, type='AnyDeviceAmpOptimWrapper', dtype=dtype), batches)
    assert_bitwise_same(model, reference)


@pytest.mark.skipif(torch.cuda.is_available(), reason='an accelerator has float16')
@pytest.mark.parametrize('kind', ['AmpSAMOptimWrapper', 'AnyDeviceAmpOptimWrapper'])
def test_float16_on_a_cpu_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="dtype must be one of None, bfloat16 on cpu; got 'float16'"):
        wrap(net(), type=kind, dtype='float16')


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dict(loss_scale='static'), "loss_scale must be 'dynamic', a float or a dict; got 'static'"),
        (dict(dtype='bfloat'), "dtype must be one of .*; got 'bfloat'"),
    ],
    ids=str,
)
def test_wrong_settings_are_named(config: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wrap(net(), **config)


# Overflow


class Overflow:
    """Makes the gradient that one chosen forward sends back through the head infinite."""

    def __init__(self, model: PlainNet, at: int, value: float = math.inf) -> None:
        self.count, self.at, self.value = 0, at, value
        model.head.register_forward_hook(self)

    def __call__(self, module: nn.Module, args: tuple, output: Tensor) -> None:
        if self.count == self.at:
            output.register_hook(lambda gradient: torch.full_like(gradient, self.value))
        self.count += 1


def snapshot(wrapper: Any, model: nn.Module) -> list[Tensor]:
    moments = [value for state in wrapper.optimizer.state.values() for value in state.values()]
    return [tensor.detach().clone() for tensor in (*model.parameters(), *moments)]


@both_methods
@pytest.mark.parametrize('where', ['first pass', 'second pass'])
@pytest.mark.parametrize('value', [math.inf, math.nan])
@pytest.mark.parametrize('clip', [None, dict(max_norm=1.0)], ids=['unclipped', 'clipped'])
def test_an_overflow_in_either_pass_skips_the_whole_step(
    kind: str, where: str, value: float, clip: dict | None
) -> None:
    """Weights and momentum stay to the last bit, the scale is halved, and training continues."""
    model = net()
    wrapper = wrap(model, type=kind, rho=0.2, dtype='bfloat16', loss_scale='dynamic', clip_grad=copy.deepcopy(clip))
    batches = plain_batches(4, dtype=torch.float32)
    overflow = Overflow(model, at=2 if where == 'first pass' else 3, value=value)
    train(model, wrapper, batches[:1])
    before = snapshot(wrapper, model)
    assert len(before) == 2 * len(list(model.parameters()))  # there is momentum already

    train(model, wrapper, batches[1:2])
    assert overflow.count == 4
    assert all(torch.equal(one, other) for one, other in zip(snapshot(wrapper, model), before, strict=True))
    assert wrapper.loss_scaler.get_scale() == INITIAL_SCALE / 2
    assert wrapper.inner_count == 2
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(bool(torch.isfinite(buffer).all()) for buffer in model.buffers())

    train(model, wrapper, batches[2:])
    after = snapshot(wrapper, model)
    assert all(bool(torch.isfinite(value).all()) for value in after)
    assert not any(torch.equal(one, other) for one, other in zip(after, before, strict=True))


def test_a_skipped_step_is_as_if_it_had_not_been() -> None:
    """The steps after it are those of a run that never saw that batch, but for its running statistics."""
    model, reference = net(torch.float64), net(torch.float64)
    batches = plain_batches(4)
    wrapper = wrap(model, rho=0.2)
    Overflow(model, at=2)
    train(model, wrapper, batches)
    train(reference, wrap(reference, rho=0.2), [batches[0], *batches[2:]])
    for parameter, expected in zip(model.parameters(), reference.parameters(), strict=True):
        assert torch.equal(parameter, expected)
    assert int(model.norm.num_batches_tracked) == 4


@pytest.mark.parametrize('forward', range(4))
def test_an_overflow_in_one_micro_batch_skips_the_accumulated_step(forward: int) -> None:
    model = net()
    wrapper = wrap(model, rho=0.2, dtype='bfloat16', accumulative_counts=2)
    Overflow(model, at=forward)
    before = snapshot(wrapper, model)
    train(model, wrapper, plain_batches(2, dtype=torch.float32))
    assert all(torch.equal(one, other) for one, other in zip(snapshot(wrapper, model), before, strict=True))
    assert wrapper.loss_scaler.get_scale() == INITIAL_SCALE / 2
    train(model, wrapper, plain_batches(2, dtype=torch.float32))
    assert not torch.equal(model.conv.weight, before[0])
    assert bool(torch.isfinite(model.conv.weight).all())


def test_an_overflow_does_not_reach_into_steps_that_are_not_due() -> None:
    """interval=2: the step after a skipped one is plain, and must not be made NaN."""
    model = net()
    wrapper = wrap(model, rho=0.2, dtype='bfloat16', interval=2)
    Overflow(model, at=0)
    before = snapshot(wrapper, model)
    batches = plain_batches(2, dtype=torch.float32)
    train(model, wrapper, batches[:1])
    assert torch.equal(model.conv.weight, before[0])
    train(model, wrapper, batches[1:])
    assert not torch.equal(model.conv.weight, before[0])
    assert bool(torch.isfinite(model.conv.weight).all())


def test_large_finite_gradients_are_no_overflow() -> None:
    """Squares beyond float32 are not: the scaler looks at the entries, and so must the first pass."""
    model = net()
    model.head.register_forward_hook(lambda module, args, output: output * 1e17)
    wrapper = wrap(model, rho=0.2, dtype='bfloat16', loss_scale=dict(init_scale=2.0**12), clip_grad=None)
    before = snapshot(wrapper, model)
    train(model, wrapper, plain_batches(1, dtype=torch.float32))
    assert wrapper.loss_scaler.get_scale() == 2.0**12
    assert not torch.equal(model.conv.weight, before[0])


# State


def test_the_scale_is_part_of_the_state() -> None:
    model = net()
    wrapper = wrap(model, rho=0.2, dtype='bfloat16')
    Overflow(model, at=0)
    train(model, wrapper, plain_batches(1, dtype=torch.float32))
    resumed = wrap(net(), rho=0.1, dtype='bfloat16')
    resumed.load_state_dict(copy.deepcopy(wrapper.state_dict()))
    assert resumed.param_groups[0]['rho'] == 0.2
    train(net(), resumed, [])
    assert resumed.loss_scaler.state_dict()['scale'] == INITIAL_SCALE / 2


def test_a_full_precision_checkpoint_can_be_continued_in_mixed_precision() -> None:
    model = net()
    batches = plain_batches(2, dtype=torch.float32)
    wrapper = wrap(model, type='SAMOptimWrapper', rho=0.2)
    train(model, wrapper, batches[:1])
    resumed = wrap(model, dtype='bfloat16')
    resumed.load_state_dict(copy.deepcopy(wrapper.state_dict()))
    train(model, resumed, batches[1:])
    assert resumed.param_groups[0]['rho'] == 0.2
    assert bool(torch.isfinite(model.conv.weight).all())
