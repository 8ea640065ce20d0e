"""Batches of every form: how many samples they hold, and some of them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from small_models import plain_batches
from torch import Tensor, nn
from torch.nn import functional as F

from samat_mm.replay.batch import batch_size, subset
from samat_mm.replay.replay import Replay


def numbered(*shape: int) -> Tensor:
    """Values that tell which sample they are of."""
    return torch.arange(shape[0], dtype=torch.float32).view(-1, *[1] * (len(shape) - 1)).expand(shape).clone()


def elements(count: int) -> list[BaseDataElement]:
    return [BaseDataElement(metainfo=dict(number=index)) for index in range(count)]


def numbers_in(value: Any) -> Any:
    """Replace every tensor by the numbers of its samples and every data sample by its own."""
    if isinstance(value, Tensor):
        return value.flatten(1)[:, 0].int().tolist() if value.ndim > 1 else value.int().tolist()
    if isinstance(value, BaseDataElement):
        return value.number
    if isinstance(value, dict):
        return {key: numbers_in(entry) for key, entry in value.items()}
    return [numbers_in(entry) for entry in value] if isinstance(value, (list, tuple)) else value


# name: positional arguments, named arguments, samples, and the expected arguments for samples 3, 0 (1, 0 for two)
BATCHES: dict[str, tuple[tuple, dict, int, Any, Any]] = {
    'tensors': ((), dict(inputs=numbered(4, 3, 5, 5), labels=numbered(4)), 4, [], dict(inputs=[3, 0], labels=[3, 0])),
    'data samples': (
        (),
        dict(inputs=numbered(4, 3, 5, 5), data_samples=elements(4), mode='loss'),
        4,
        [],
        dict(inputs=[3, 0], data_samples=[3, 0], mode='loss'),
    ),
    'images of several sizes': (
        (),
        dict(inputs=list(map(numbered, [1] * 4)), data_samples=elements(4)),
        4,
        [],
        dict(inputs=[[0], [0]], data_samples=[3, 0]),
    ),
    'a dict of modalities': (
        (),
        dict(inputs=dict(image=numbered(4, 3, 5, 5), points=[numbered(7, 3)] * 4), data_samples=elements(4)),
        4,
        [],
        dict(inputs=dict(image=[3, 0], points=[[0, 1, 2, 3, 4, 5, 6]] * 2), data_samples=[3, 0]),
    ),
    'a dict of labels': (
        (),
        dict(inputs=numbered(4, 2), targets=dict(fine=numbered(4), coarse=[5, 6, 7, 8])),
        4,
        [],
        dict(inputs=[3, 0], targets=dict(fine=[3, 0], coarse=[8, 5])),
    ),
    'two views': (
        (),
        dict(inputs=[numbered(4, 3, 5, 5), numbered(4, 3, 5, 5)], data_samples=elements(4)),
        4,
        [],
        dict(inputs=[[3, 0], [3, 0]], data_samples=[3, 0]),
    ),
    'four views of four': (
        (),
        dict(inputs=[numbered(4, 3, 5, 5)] * 4, data_samples=elements(4)),
        4,
        [],
        dict(inputs=[[3, 0]] * 4, data_samples=[3, 0]),
    ),
    'two views of two': (
        (),
        dict(inputs=[numbered(2, 3, 5, 5), numbered(2, 3, 5, 5)], data_samples=elements(2)),
        2,
        [],
        dict(inputs=[[1, 0], [1, 0]], data_samples=[1, 0]),
    ),
    'two small images of two samples': (
        (),
        dict(inputs=[numbered(2, 5, 5), numbered(2, 5, 5)], data_samples=elements(2)),
        2,
        [],
        dict(inputs=[[0, 1], [0, 1]], data_samples=[1, 0]),
    ),
    'views without data samples': (
        (),
        dict(inputs=[numbered(4, 3, 5, 5), numbered(4, 3, 5, 5)]),
        4,
        [],
        dict(inputs=[[3, 0], [3, 0]]),
    ),
    'positional arguments': (
        (numbered(4, 3, 5, 5), elements(4)),
        dict(mode='loss'),
        4,
        [[3, 0], [3, 0]],
        dict(mode='loss'),
    ),
    'what is not of the batch': (
        (),
        dict(
            inputs=numbered(4, 2), scale=torch.tensor(7.0), classes=numbered(9), names=('a', 'b'), flag=True, none=None
        ),
        4,
        [],
        dict(inputs=[3, 0], scale=7, classes=list(range(9)), names=['a', 'b'], flag=True, none=None),
    ),
}


@pytest.mark.parametrize('kind', BATCHES)
def test_the_samples_of_a_batch_are_counted_and_picked(kind: str) -> None:
    args, kwargs, count, args_left, kwargs_left = BATCHES[kind]
    assert batch_size(args, kwargs) == count
    picked_args, picked_kwargs = subset(args, kwargs, torch.tensor([count - 1, 0]), count)
    scale = picked_kwargs.pop('scale', None)
    assert scale is None or float(scale) == kwargs_left['scale']
    assert numbers_in(picked_args) == args_left
    assert numbers_in(picked_kwargs) == {key: value for key, value in kwargs_left.items() if key != 'scale'}
    assert batch_size(*subset(args, kwargs, torch.tensor([0]), count)) == 1


def test_images_in_a_list_are_counted_without_data_samples_too() -> None:
    kwargs = dict(inputs=[numbered(3, 5, 5 + index) for index in range(4)])
    assert batch_size((), kwargs) == 4
    assert [image.shape[2] for image in subset((), kwargs, torch.tensor([3, 0]), 4)[1]['inputs']] == [8, 5]


def test_the_batch_itself_stays_as_it_is() -> None:
    samples, inputs = elements(4), numbered(4, 2)
    kwargs = dict(inputs=inputs, data_samples=samples)
    subset((), kwargs, torch.tensor([1]), 4)
    assert kwargs['inputs'] is inputs
    assert kwargs['data_samples'] is samples
    assert len(samples) == 4


def test_images_keep_their_identity() -> None:
    """A list of images is picked from; none is copied."""
    images = [numbered(2, 5, 5 + index) for index in range(3)]
    _, kwargs = subset((), dict(inputs=images), torch.tensor([2, 1]), 3)
    assert kwargs['inputs'][0] is images[2]
    assert kwargs['inputs'][1] is images[1]


def test_a_batch_of_nothing_is_refused() -> None:
    with pytest.raises(TypeError, match=r"a batch needs data samples or a tensor of inputs; got \['mode'\]"):
        batch_size((), dict(mode='loss'))


# The forward with some of the samples


def captured(model: BaseModel, batch: dict, **options: Any) -> tuple[Replay, Tensor]:
    """Return the replay of a training forward and the loss of that forward."""
    replay = Replay(**options)
    with replay.capture(model):
        data = model.data_preprocessor(batch, True)
        loss = model.parse_losses(model._run_forward(data, mode='loss'))[0]
    return replay, loss


def picked(batch: dict, indices: list[int]) -> dict:
    return {
        key: values[indices] if isinstance(values, Tensor) else [values[index] for index in indices]
        for key, values in batch.items()
    }


@pytest.mark.parametrize('kind', ['plain', 'segmentor', 'classifier'])
def test_a_replay_of_some_samples_is_a_forward_on_them(training_case: Callable, kind: str) -> None:
    """In training mode: batch normalisation sees the chosen samples only."""
    model, (batch,) = training_case(kind, 1)
    replay, whole = captured(model, batch)
    for indices in ([3, 1], [0, 1, 2]):
        _, expected = captured(model, picked(batch, indices))
        found = replay(torch.tensor(indices))
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
        assert abs(float(found.detach() - whole.detach())) > 1e-6
    torch.testing.assert_close(replay(), whole, rtol=1e-12, atol=0)


class Siamese(BaseModel):
    """Two views of each image, whose features are to agree: a self-supervised model."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, inputs: list[Tensor], data_samples: Any = None, mode: str = 'tensor') -> dict:
        first, second = [self.norm(self.conv(view)).mean((2, 3)) for view in inputs]
        return {'loss': 1 - F.cosine_similarity(first, second).mean()}


@pytest.mark.parametrize('size', [2, 5])
@pytest.mark.parametrize('with_samples', [True, False])
def test_a_replay_of_some_samples_keeps_both_views(size: int, with_samples: bool) -> None:
    torch.manual_seed(0)
    model = Siamese().double()
    views = [torch.randn(size, 2, 5, 5, dtype=torch.float64) for _ in range(2)]
    more = {'data_samples': elements(size)} if with_samples else {}
    replay, _ = captured(model, {'inputs': views, **more})
    indices = torch.tensor([1]) if size == 2 else torch.tensor([4, 1, 2])
    _, expected = captured(model, {'inputs': [view[indices] for view in views]})
    torch.testing.assert_close(replay(indices), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(('share', 'count'), [(1.0, 6), (0.7, 5), (0.5, 3), (0.34, 3), (0.1, 2), (1e-9, 2)])
def test_the_first_forward_runs_on_a_share(training_case: Callable, share: float, count: int) -> None:
    """Its first samples, at least two; the second one on all of them."""
    model, (batch,) = training_case('plain', 1)
    sizes: list[int] = []
    model.conv.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    replay, first = captured(model, batch, share=share)
    second = replay()
    assert sizes == [count, 6]
    torch.testing.assert_close(first, captured(model, picked(batch, list(range(count))))[1], rtol=1e-12, atol=0)
    torch.testing.assert_close(second, captured(model, batch)[1], rtol=1e-12, atol=0)


def test_a_share_of_one_sample_is_that_sample(training_case: Callable) -> None:
    model, _ = training_case('plain', 1)
    replay, first = captured(model, plain_batches(1, size=1)[0], share=0.5)
    torch.testing.assert_close(replay(), first, rtol=1e-12, atol=0)


def test_a_share_that_is_a_whole_number_of_samples_is_that_number(training_case: Callable) -> None:
    model, _ = training_case('plain', 1)
    sizes: list[int] = []
    model.conv.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    captured(model, plain_batches(1, size=25)[0], share=0.28)
    assert sizes == [7]


@pytest.mark.parametrize('kind', ['segmentor', 'classifier'])
def test_the_losses_of_the_first_forward_are_those_of_a_replay(training_case: Callable, kind: str) -> None:
    model, (batch,) = training_case(kind, 1)
    replay, loss = captured(model, batch, sample_losses=True)
    torch.testing.assert_close(replay.first_losses, replay.losses_of_samples().detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(replay.first_losses.mean(), loss.detach(), rtol=1e-12, atol=0)
    assert not replay.first_losses.requires_grad
    replay.clear()
    assert replay.first_losses is None


def test_a_model_without_losses_of_samples_has_none(training_case: Callable) -> None:
    model, (batch,) = training_case('plain', 1)
    replay, _ = captured(model, batch, sample_losses=True)
    assert replay.first_losses is None
    assert replay.losses_of_samples() is None
    assert not model._forward_hooks
    assert not model._forward_pre_hooks


class Graph:
    """A batch of a form that nobody here knows."""

    def __init__(self, nodes: Tensor) -> None:
        self.nodes = nodes


class GraphNet(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 1)

    def forward(self, graph: Graph, mode: str = 'tensor') -> dict:
        return {'loss': self.linear(graph.nodes).square().mean()}


def test_a_batch_of_another_form_can_be_replayed_as_a_whole() -> None:
    """SAM needs no single samples."""
    replay, first = captured(GraphNet(), {'graph': Graph(torch.ones(4, 3))})
    torch.testing.assert_close(replay(), first)
