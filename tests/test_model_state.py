"""Running a model without leaving a trace in it."""

import pytest
import torch
from small_models import PlainNet, plain_batches
from torch import Tensor, nn

from samat_mm.model_state import buffers_kept, frozen, frozen_parameters_watched


def partly_frozen_net() -> PlainNet:
    """A training model with one module in evaluation mode and one frozen parameter."""
    model = PlainNet().double().train()
    model.norm.eval()
    model.conv.weight.requires_grad_(False)
    return model


def modes_of(model: nn.Module) -> list[tuple[str, bool]]:
    modes = [(name, module.training) for name, module in model.named_modules()]
    return modes + [(name, parameter.requires_grad) for name, parameter in model.named_parameters()]


@pytest.mark.parametrize('failing', [False, True])
def test_frozen_puts_back_every_mode_one_by_one(failing: bool) -> None:
    model = partly_frozen_net()
    before = modes_of(model)
    assert {value for _, value in before} == {True, False}
    try:
        with frozen(model):
            assert not any(value for _, value in modes_of(model))
            if failing:
                raise ArithmeticError
    except ArithmeticError:
        pass
    assert modes_of(model) == before


def test_inside_frozen_gradients_reach_the_input_only() -> None:
    model = PlainNet().double()
    inputs = plain_batches(1)[0]['inputs'].requires_grad_()
    with frozen(model):
        (gradient,) = torch.autograd.grad(model(inputs).sum(), inputs)
    assert float(gradient.abs().sum()) > 0
    assert all(parameter.grad is None for parameter in model.parameters())


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in model.named_buffers()}


@pytest.mark.parametrize('value', [1.0, float('nan'), float('inf')])
def test_a_training_forward_leaves_the_buffers(value: float) -> None:
    """Also where the batch would poison them: 0 * NaN is NaN, so momentum 0 would not do."""
    model = PlainNet().double().train()
    batch = plain_batches(1)[0]
    model(batch['inputs'])
    before = snapshot(model)
    assert int(before['norm.num_batches_tracked']) == 1
    with buffers_kept(model):
        output = model(batch['inputs'] * value)
        changed = snapshot(model)
    assert int(changed['norm.num_batches_tracked']) == 2
    after = snapshot(model)
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    if value == 1.0:  # it normalised by the batch as training does
        assert torch.equal(output, model(batch['inputs']))


def test_buffers_come_back_after_an_exception() -> None:
    model = PlainNet().double().train()
    before = snapshot(model)
    with pytest.raises(ArithmeticError), buffers_kept(model):
        model(plain_batches(1)[0]['inputs'])
        raise ArithmeticError
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())


def test_buffers_keep_their_identity_even_if_a_layer_replaces_them() -> None:
    """Some layers assign a new tensor instead of writing into the old one; DDP holds on to the old one."""
    model = PlainNet().double()
    held, value = model.norm.running_mean, model.norm.running_mean.clone()
    with buffers_kept(model):
        model.norm.running_mean = torch.ones(4, dtype=torch.float64)
    assert model.norm.running_mean is held
    assert torch.equal(held, value)


def test_parameters_are_none_of_its_business() -> None:
    model = PlainNet().double()
    with buffers_kept(model), torch.no_grad():
        model.head.bias.fill_(3)
    assert model.head.bias.tolist() == [3, 3, 3]


def test_a_backward_inside_gives_the_gradient_of_plain_training() -> None:
    """Autograd holds the statistics of the forward, so they may go back only after the backward."""
    model = PlainNet().double().train()
    batch = plain_batches(1)[0]
    model(**batch, mode='loss')['loss'].backward()
    expected = model.conv.weight.grad.clone()
    model.zero_grad()
    with buffers_kept(model):
        model(**batch, mode='loss')['loss'].backward()
    assert torch.equal(model.conv.weight.grad, expected)


@pytest.mark.parametrize('write', ['in place', 'through .data'])
def test_a_change_of_a_frozen_parameter_is_refused(write: str) -> None:
    """MMEngine's averaged models write through .data, which autograd's version counter does not see."""
    model = PlainNet()
    model.head.requires_grad_(False)
    target = model.head.bias if write == 'in place' else model.head.bias.data
    message = r'changes head\.bias, a parameter that is not trained'
    with pytest.raises(RuntimeError, match=message), frozen_parameters_watched(model), torch.no_grad():
        target.add_(1)


def test_frozen_parameters_may_be_read_and_trained_ones_changed() -> None:
    model = PlainNet()
    model.head.requires_grad_(False)
    with frozen_parameters_watched(model), torch.no_grad():
        model.conv.bias.add_(model.head.bias.sum())
