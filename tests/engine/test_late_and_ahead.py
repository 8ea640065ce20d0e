"""Steps whose direction is known before the forward (MSAM, stale SAM), several ascents, and late perturbation."""

import copy
import itertools
from typing import Any

import pytest
import torch
from helpers import ClassificationImages, classifier, runner
from mmengine.hooks import Hook
from mmengine.optim import build_optim_wrapper
from small_models import ONE_PASS, PlainNet, plain_batches
from torch import Tensor, nn

from samat_mm.engine.optim_wrappers.schedule import StepSchedule
from samat_mm.engine.training_summary import ascent_summary

SGD = dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=1e-2)
ONE_GRADIENT = ['MSAM', 'StaleSAM']
every_one = pytest.mark.parametrize('method', ONE_GRADIENT)


def wrap(model: nn.Module, method: str, optimizer: dict | None = None, **config: Any) -> Any:
    perturbation = dict(type=method, rho=0.3)
    settings = dict(type='SAMOptimWrapper', optimizer=dict(optimizer or SGD), perturbation=perturbation, **config)
    return build_optim_wrapper(model, settings)


def net() -> PlainNet:
    torch.manual_seed(0)
    return PlainNet().double().train()


def flat(tensors: Any) -> Tensor:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def forwards_of(model: nn.Module) -> list[Tensor]:
    seen: list[Tensor] = []
    model.register_forward_pre_hook(lambda *_: seen.append(flat(model.parameters())))
    return seen


def test_the_methods_here_are_those_of_one_pass() -> None:
    assert set(ONE_GRADIENT) < set(ONE_PASS)


@every_one
@pytest.mark.parametrize('counts', [1, 2])
def test_the_one_forward_is_at_a_known_distance_and_the_weights_come_back(method: str, counts: int) -> None:
    """All parts of an accumulated step are at the same place; between steps the weights are those that are tested."""
    model = net()
    wrapper, seen, steps = wrap(model, method, accumulative_counts=counts), forwards_of(model), []
    wrapper.optimizer.register_step_pre_hook(
        lambda *_: steps.append((flat(model.parameters()), flat(p.grad for p in model.parameters())))
    )
    for step in range(4):
        start = flat(model.parameters())
        state = wrapper.optimizer.state
        known = [state[p]['momentum_buffer'] for p in model.parameters()] if method == 'MSAM' and step else []
        vector = -flat(known) if known else steps[-1][1] if step else torch.zeros_like(start)
        for batch in plain_batches(counts, seed=step):
            model.train_step(batch, wrapper)
        assert torch.equal(steps[-1][0], start)
        for place in seen[-counts:]:
            torch.testing.assert_close(place - start, 0.3 * vector / vector.norm().clamp_min(1e-9), rtol=0, atol=1e-12)
    assert len(seen) == 4 * counts


@every_one
@pytest.mark.parametrize('where', ['forward', 'backward', 'never stepped'])
def test_a_failure_at_the_perturbed_weights_brings_them_back(method: str, where: str) -> None:
    model, (first, second, third) = net(), plain_batches(3)
    wrapper, reference = wrap(model, method), net()
    model.train_step(first, wrapper)
    start = flat(model.parameters())

    def fail(module: nn.Module, args: tuple, output: Tensor) -> None:
        if where == 'forward':
            raise ArithmeticError
        output.register_hook(lambda gradient: 1 / 0)

    if where == 'never stepped':
        with wrapper.optim_context(model):
            model(**second, mode='loss')
        assert not torch.equal(flat(model.parameters()), start)
        wrapper.state_dict()  # what a checkpoint is made of
    else:
        handle = model.head.register_forward_hook(fail)
        with pytest.raises(ArithmeticError):
            model.train_step(second, wrapper)
        handle.remove()
        wrapper.zero_grad()
    assert torch.equal(flat(model.parameters()), start)
    model.train_step(third, wrapper)
    plain = wrap(reference, method)
    for batch in (first, third):
        reference.train_step(batch, plain)
    torch.testing.assert_close(flat(model.parameters()), flat(reference.parameters()), rtol=0, atol=0)


@pytest.mark.parametrize('optimizer', [dict(type='SGD', lr=0.1), dict(type='RMSprop', lr=0.1)], ids=['sgd', 'rmsprop'])
def test_msam_without_momentum_is_refused(optimizer: dict) -> None:
    with pytest.raises(TypeError, match=r'momentum of the optimizer, and \w+ keeps none.*momentum=0.9'):
        wrap(net(), 'MSAM', optimizer)


class Watch(Hook):
    """Records the weights that validation sees."""

    def __init__(self) -> None:
        self.seen: list[bool] = []

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        self.end = flat(runner.model.parameters())

    def before_val(self, runner: Any) -> None:
        self.seen.append(torch.equal(self.end, flat(runner.model.parameters())))


def test_validation_and_checkpoints_see_the_weights_themselves(tmp_path: Any) -> None:
    images, watch = ClassificationImages(8), Watch()
    runner(
        classifier(),
        tmp_path,
        train=images,
        evaluate=images,
        iterations=4,
        val_interval=2,
        optim_wrapper=dict(type='SAMOptimWrapper', perturbation=dict(type='MSAM', rho=1.0), optimizer=dict(SGD)),
        hooks=[watch],
    ).train()
    assert watch.seen == [True, True]


# Several ascents: on a quadratic loss whose gradient at an offset is known


class Quadratic(PlainNet):
    """``w' A w / 2 + b' w``."""

    def __init__(self, matrix: Tensor, slope: Tensor) -> None:
        super().__init__()
        del self.conv, self.norm, self.dropout, self.head
        self.weight = nn.Parameter(torch.randn(len(slope), generator=torch.Generator().manual_seed(1)).double())
        self.matrix, self.slope = matrix, slope
        self.places: list[Tensor] = []

    def loss_at(self, weight: Tensor) -> Tensor:
        return weight @ self.matrix @ weight / 2 + self.slope @ weight

    def forward(self, inputs: Tensor, labels: Tensor | None = None, mode: str = 'tensor') -> Any:
        self.places.append(self.weight.detach().clone())
        return {'loss': self.loss_at(self.weight)}


def places(steps: int, curvature: float, seed: int = 0) -> tuple[Quadratic, list[Tensor]]:
    numbers = torch.Generator().manual_seed(seed)
    root = torch.randn(5, 5, generator=numbers, dtype=torch.float64)
    model = Quadratic(curvature * root @ root.T, torch.randn(5, generator=numbers, dtype=torch.float64))
    perturbation = dict(type='SAM', rho=0.7, steps=steps)
    optimizer = dict(type='SGD', lr=0.1)
    wrapper = build_optim_wrapper(model, dict(type='SAMOptimWrapper', optimizer=optimizer, perturbation=perturbation))
    model.train_step(plain_batches(1)[0], wrapper)
    return model, model.places


@pytest.mark.parametrize('seed', range(5))
def test_on_a_convex_loss_no_ascent_is_lower_than_the_one_before_and_none_leaves_the_ball(seed: int) -> None:
    model, (start, *others) = places(6, 1.0, seed)
    assert len(others) == 6  # five gradients on the way, and that of the descent
    heights = [float(model.loss_at(place)) for place in others]
    assert all(later >= earlier - 1e-12 for earlier, later in itertools.pairwise(heights))
    assert heights[-1] > heights[0] + 1e-6
    assert all(float((place - start).norm()) == pytest.approx(0.7, abs=1e-12) for place in others)
    torch.testing.assert_close(others[0], places(1, 1.0, seed)[1][1], rtol=0, atol=0)


def test_on_a_linear_loss_all_ascents_are_the_first() -> None:
    _, (_, *others) = places(4, 0.0)
    assert all(torch.allclose(place, others[0], rtol=0, atol=1e-14) for place in others)


# Late perturbation


@pytest.mark.parametrize(
    ('last', 'steps', 'first'),
    [(0.1, 100, 90), (0.1, 95, 85), (0.1, 7, 6), (1.0, 7, 0), (0.3, 10, 7), (1e-9, 50, 49), (0.5, 1, 0)],
)
def test_the_last_part_is_counted_from_the_end(last: float, steps: int, first: int) -> None:
    schedule = StepSchedule(last=last)
    assert schedule.first_step(steps) == first
    assert [schedule.position(step, steps) for step in (first - 1, first, steps - 1)] == [None, 0, steps - 1 - first]


def counts_of(model: nn.Module, wrapper: Any, batches: list[dict]) -> list[int]:
    counts = []
    seen = forwards_of(model)
    for batch in batches:
        before = len(seen)
        model.train_step(batch, wrapper)
        counts.append(len(seen) - before)
    return counts


@pytest.mark.parametrize('counts', [1, 2])
def test_late_sam_is_plain_until_its_part_begins_also_after_a_resume(counts: int) -> None:
    model, reference, batches = net(), net(), plain_batches(10)
    wrapper = wrap(model, 'SAM', last=0.3, accumulative_counts=counts)
    wrapper.initialize_count_status(model, 0, 10)
    plain = build_optim_wrapper(reference, dict(type='OptimWrapper', optimizer=dict(SGD), accumulative_counts=counts))
    late = {1: 7, 2: 6}[counts]  # of 5 steps of two batches, the last two
    assert counts_of(model, wrapper, batches[:late]) == [1] * late
    for batch in batches[:late]:
        reference.train_step(batch, plain)
    assert torch.equal(flat(model.parameters()), flat(reference.parameters()))
    weights, state = copy.deepcopy(model.state_dict()), copy.deepcopy(wrapper.state_dict())
    assert counts_of(model, wrapper, batches[late:]) == [2] * (10 - late)

    resumed = net()
    resumed.load_state_dict(weights)
    other = wrap(resumed, 'SAM', last=0.3, accumulative_counts=counts)
    other.load_state_dict(state)
    other.initialize_count_status(resumed, late, 10)
    assert counts_of(resumed, other, batches[late:]) == [2] * (10 - late)
    assert torch.equal(flat(resumed.parameters()), flat(model.parameters()))


def test_a_runner_says_how_long_the_training_is(tmp_path: Any) -> None:
    """Epochs times the length of the loader, too."""
    for train_cfg in (
        dict(type='IterBasedTrainLoop', max_iters=8, val_interval=100),
        dict(type='EpochBasedTrainLoop', max_epochs=2, val_interval=100),
    ):
        model = classifier()
        seen: list[int] = []
        model.backbone.register_forward_pre_hook(lambda *_, seen=seen: seen.append(1))
        runner(
            model,
            tmp_path,
            train=ClassificationImages(8),
            train_cfg=train_cfg,
            optim_wrapper=dict(type='SAMOptimWrapper', rho=0.05, last=0.25, optimizer=dict(SGD)),
        ).train()
        assert len(seen) == 8 + 2


def test_the_log_says_when_it_begins() -> None:
    model = net()
    wrapper = wrap(model, 'SAM', last=0.3)
    assert ascent_summary(wrapper) == 'SAM(rho=0.3) (in the last 30 % of the training only)'
    wrapper.initialize_count_status(model, 0, 10)
    assert ascent_summary(wrapper) == 'SAM(rho=0.3) (in the last 30 % of the training only, from step 8 on)'
    wrapper = wrap(model, 'SAM', last=0.5, accumulative_counts=3)
    wrapper.initialize_count_status(model, 0, 10)  # the fourth step has one batch
    assert ascent_summary(wrapper) == 'SAM(rho=0.3) (in the last 50 % of the training only, from step 3 on)'


def test_late_sam_without_a_known_length_is_refused() -> None:
    model = net()
    with pytest.raises(
        ValueError, match=r'last=0.1 perturbs in the last part of a training, whose length is not known'
    ):
        model.train_step(plain_batches(1)[0], wrap(model, 'SAM', last=0.1))
