"""Capturing the loss forward of a training step and running it again."""

from typing import Any

import pytest
import torch
from mmengine.model import BaseDataPreprocessor, BaseModel
from small_models import PlainNet, plain_batches
from torch import Tensor, nn

from samat_mm.replay.replay import Replay, check_train_step, unwrapped


class NoisyPreprocessor(BaseDataPreprocessor):
    """A random batch augmentation, as MixUp or a random resize is."""

    def forward(self, data: dict, training: bool = False) -> dict:
        return {**data, 'inputs': data['inputs'] + torch.randn_like(data['inputs'])}


def run_forward(model: BaseModel, batch: dict) -> Tensor:
    """What BaseModel.train_step does inside optim_context."""
    data = model.data_preprocessor(batch, True)
    losses = model._run_forward(data, mode='loss')
    return model.parse_losses(losses)[0]


def test_the_same_forward_is_run_on_the_same_preprocessed_batch() -> None:
    """The augmentation is not repeated: the tensors are the very ones of the first forward."""
    model = PlainNet().double()
    model.data_preprocessor = NoisyPreprocessor()
    inputs = []
    model.conv.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    replay = Replay()
    with replay.capture(model):
        first = run_forward(model, plain_batches(1)[0])
    second = replay()
    assert inputs[0] is inputs[1]
    assert torch.equal(first, second)
    assert second.requires_grad


def test_the_second_forward_uses_the_weights_of_its_time() -> None:
    model = PlainNet().double()
    batch = plain_batches(1)[0]
    replay = Replay()
    with replay.capture(model):
        run_forward(model, batch)
    with torch.no_grad():
        model.head.bias.add_(torch.tensor([1.0, 0.0, -1.0]))
    assert torch.equal(replay(), run_forward(model, batch))


@pytest.mark.parametrize('kind', ['segmentor', 'classifier'])
def test_losses_of_other_projects_are_summed_as_their_train_step_does(training_case: Any, kind: str) -> None:
    model, (batch,) = training_case(kind, 1)
    replay = Replay()
    with replay.capture(model):
        first = run_forward(model, batch)
    torch.testing.assert_close(replay(), first, rtol=1e-14, atol=0)


def test_only_loss_forwards_are_captured() -> None:
    """A visualisation or an attack may call the model in another mode meanwhile."""
    model = PlainNet().double()
    batch = plain_batches(1)[0]
    replay = Replay()
    with replay.capture(model):
        model(batch['inputs'])
        first = run_forward(model, batch)
        model(batch['inputs'], mode='predict')
    assert torch.equal(replay(), first)


def test_forwards_after_the_block_are_not_captured() -> None:
    model = PlainNet().double()
    batch, other = plain_batches(2)
    replay = Replay()
    with replay.capture(model):
        first = run_forward(model, batch)
    run_forward(model, other)
    assert torch.equal(replay(), first)
    assert not model._forward_pre_hooks


def test_the_hook_goes_also_when_the_forward_fails() -> None:
    model = PlainNet().double()
    with pytest.raises(TypeError), Replay().capture(model):
        model(None, mode='loss')
    assert not model._forward_pre_hooks


@pytest.mark.parametrize('count', [0, 2, 3])
def test_exactly_one_loss_forward_is_needed(count: int) -> None:
    model = PlainNet().double()
    replay = Replay()
    with replay.capture(model):
        for batch in plain_batches(count):
            run_forward(model, batch)
    with pytest.raises(RuntimeError, match=f'exactly one loss forward inside optim_context.*got {count}'):
        replay()


def test_a_new_capture_forgets_the_last_batch() -> None:
    model = PlainNet().double()
    batch, other = plain_batches(2)
    replay = Replay()
    with replay.capture(model):
        run_forward(model, batch)
    with replay.capture(model):
        expected = run_forward(model, other)
    assert torch.equal(replay(), expected)
    replay.clear()
    with pytest.raises(RuntimeError, match='got 0'):
        replay()


def test_same_dropout_repeats_the_random_numbers_and_puts_the_stream_back() -> None:
    model = PlainNet(dropout=0.5).double()
    masks = []
    model.dropout.register_forward_hook(lambda module, args, output: masks.append(output != 0))
    replay = Replay(same_dropout=True)
    with replay.capture(model):
        first = run_forward(model, plain_batches(1, size=32)[0])
    state = torch.get_rng_state()
    torch.manual_seed(99)
    moved = torch.get_rng_state()
    assert torch.equal(replay(), first)
    assert torch.equal(masks[0], masks[1])
    assert torch.equal(torch.get_rng_state(), moved)
    assert not torch.equal(state, moved)


def test_without_it_the_masks_differ() -> None:
    model = PlainNet(dropout=0.5).double()
    replay = Replay()
    with replay.capture(model):
        first = run_forward(model, plain_batches(1, size=32)[0])
    assert not torch.equal(replay(), first)


def test_random_state_is_put_back_after_an_exception() -> None:
    model = PlainNet(dropout=0.5).double()
    replay = Replay(same_dropout=True)
    with replay.capture(model):
        run_forward(model, plain_batches(1)[0])
    torch.manual_seed(99)
    state = torch.get_rng_state()

    def fail(*_: Any) -> None:
        raise ArithmeticError

    model.head.register_forward_hook(fail)
    with pytest.raises(ArithmeticError):
        replay()
    assert torch.equal(torch.get_rng_state(), state)


class OwnTrainStep(PlainNet):
    def train_step(self, data: Any, optim_wrapper: Any) -> dict:
        return {}


class InheritedTrainStep(PlainNet):
    pass


def test_which_training_steps_can_be_replayed() -> None:
    check_train_step(InheritedTrainStep())
    with pytest.raises(TypeError, match='OwnTrainStep has its own train_step'):
        check_train_step(OwnTrainStep())
    with pytest.raises(TypeError, match=r'Linear is not a BaseModel and has no train_step; derive it from BaseModel'):
        check_train_step(nn.Linear(1, 1))
    with pytest.raises(TypeError, match=r'Trainer is not a BaseModel and has its own train_step'):
        check_train_step(Trainer())


class Trainer(nn.Module):
    def train_step(self, data: Any, optim_wrapper: Any) -> dict:
        return {}


def test_a_bare_model_is_its_own_inside() -> None:
    model = PlainNet()
    assert unwrapped(model) is model
