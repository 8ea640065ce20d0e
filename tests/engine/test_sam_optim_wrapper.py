"""A sharpness-aware training step against hand-written loops, and the state that it must leave alone."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, OptimWrapperDict, build_optim_wrapper
from mmengine.registry import OPTIM_WRAPPERS, PARAM_SCHEDULERS
from small_models import ONE_PASS, PlainNet, plain_batches
from torch import Tensor, nn
from torch.nn import functional as F

from samat_mm.engine.optim_wrappers import SAMOptimWrapper
from samat_mm.perturbations.weights import ASAM, SAM
from samat_mm.registry import WEIGHT_PERTURBATIONS

SGD = dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=1e-2)
OPTIMIZERS = {
    'sgd': SGD,
    'adam': dict(type='Adam', lr=1e-3, weight_decay=1e-2),
    'adamw': dict(type='AdamW', lr=1e-3, weight_decay=1e-1),
}
every_method = pytest.mark.parametrize('method', sorted(WEIGHT_PERTURBATIONS.module_dict))


def wrap(model: nn.Module, optimizer: dict | None = None, **config: Any) -> Any:
    config.setdefault('type', 'SAMOptimWrapper')
    return build_optim_wrapper(model, dict(optimizer=dict(optimizer or SGD), **config))


# The reference: the equations of the papers as a plain torch loop


def loss_of(model: BaseModel, batch: dict) -> Tensor:
    data = model.data_preprocessor(copy.deepcopy(batch), True)
    losses = model(**data, mode='loss')
    return sum(value.mean() for name, value in losses.items() if 'loss' in name)


def sam_offsets(names: list[str], weights: list[Tensor], gradients: list[Tensor], rho: float) -> list[Tensor]:
    length = torch.cat([gradient.reshape(-1) for gradient in gradients]).norm()
    return [rho * gradient / length for gradient in gradients]


def asam_offsets(eta: float, everywhere: bool) -> Callable:
    def offsets(names: list[str], weights: list[Tensor], gradients: list[Tensor], rho: float) -> list[Tensor]:
        scales = [
            weight.abs() + eta if everywhere or name.endswith('.weight') else torch.ones_like(weight)
            for name, weight in zip(names, weights, strict=True)
        ]
        scaled = [scale * gradient for scale, gradient in zip(scales, gradients, strict=True)]
        length = torch.cat([entry.reshape(-1) for entry in scaled]).norm()
        return [rho * scale * entry / length for scale, entry in zip(scales, scaled, strict=True)]

    return offsets


@contextmanager
def statistics_off(model: nn.Module) -> Iterator[None]:
    layers = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d) and layer.training]
    for layer in layers:
        layer.track_running_stats = False
    yield
    for layer in layers:
        layer.track_running_stats = True


def accumulate(model: BaseModel, batch: dict, rho: float, offsets_of: Callable = sam_offsets, share: float = 1) -> None:
    """Add the sharpness-aware gradient of one batch to .grad."""
    named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    names, weights = [name for name, _ in named], [weight for _, weight in named]
    gradients = torch.autograd.grad(loss_of(model, batch), weights)
    start = [weight.detach().clone() for weight in weights]
    with torch.no_grad():
        for weight, offset in zip(weights, offsets_of(names, start, list(gradients), rho), strict=True):
            weight.add_(offset)
    with statistics_off(model):
        (share * loss_of(model, batch)).backward()
    with torch.no_grad():
        for weight, value in zip(weights, start, strict=True):
            weight.copy_(value)


def reference_optimizer(model: nn.Module, config: dict) -> torch.optim.Optimizer:
    parameters = dict(config)
    return getattr(torch.optim, parameters.pop('type'))(model.parameters(), **parameters)


def assert_same_state(model: nn.Module, reference: nn.Module, tolerance: float = 1e-9) -> None:
    expected = reference.state_dict()
    assert list(model.state_dict()) == list(expected)
    for name, value in model.state_dict().items():
        assert torch.allclose(value, expected[name], rtol=tolerance, atol=tolerance), name


def assert_bitwise_same(model: nn.Module, reference: nn.Module) -> None:
    for (name, value), expected in zip(model.state_dict().items(), reference.state_dict().values(), strict=True):
        assert torch.equal(value, expected), name


# 1. Trajectories


@pytest.mark.parametrize('kind', ['plain', 'segmentor', 'classifier'])
@pytest.mark.parametrize('optimizer', OPTIMIZERS)
@pytest.mark.parametrize(
    ('config', 'rho', 'offsets_of'),
    [
        (dict(type='SAMOptimWrapper', rho=0.05), 0.05, sam_offsets),
        (dict(type='ASAMOptimWrapper', rho=0.5), 0.5, asam_offsets(0.01, everywhere=False)),
        (
            dict(type='SAMOptimWrapper', perturbation=dict(type='ASAM', rho=0.2, eta=0.1, scaled='all')),
            0.2,
            asam_offsets(0.1, everywhere=True),
        ),
    ],
    ids=['sam', 'asam', 'asam-all'],
)
def test_ten_steps_equal_a_hand_written_loop(
    training_case: Callable, kind: str, optimizer: str, config: dict, rho: float, offsets_of: Callable
) -> None:
    """Weights and running statistics, in float64: also two correct programs drift apart in float32."""
    model, batches = training_case(kind)
    reference = copy.deepcopy(model)
    wrapper = wrap(model, OPTIMIZERS[optimizer], **config)
    for batch in batches:
        model.train_step(copy.deepcopy(batch), wrapper)

    plain = reference_optimizer(reference, OPTIMIZERS[optimizer])
    for batch in batches:
        accumulate(reference, batch, rho, offsets_of)
        plain.step()
        plain.zero_grad()
    assert_same_state(model, reference)


def test_the_perturbation_matters_in_these_trajectories(training_case: Callable) -> None:
    """The radius above is large enough that a wrong direction could not pass for rounding."""
    model, batches = training_case('plain')
    other = copy.deepcopy(model)
    for candidate, rho in ((model, 0.05), (other, 0.0)):
        wrapper = wrap(candidate, rho=rho)
        for batch in batches:
            candidate.train_step(batch, wrapper)
    assert float((model.conv.weight - other.conv.weight).detach().abs().max()) > 1e-4


def test_the_step_reports_the_loss_at_the_unperturbed_weights(training_case: Callable) -> None:
    model, batches = training_case('plain', 1)
    expected = float(loss_of(copy.deepcopy(model), batches[0]))
    assert float(model.train_step(batches[0], wrap(model, rho=1.0))['loss']) == pytest.approx(expected, rel=1e-12)


# 2. The contract of every method


class Watch:
    """Records the weights that each forward and each optimizer step of a model saw."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.model = model
        self.forwards: list[list[Tensor]] = []
        self.steps: list[list[Tensor]] = []
        model.register_forward_pre_hook(lambda *_: self.forwards.append(self._weights()))
        optimizer.register_step_pre_hook(lambda *_: self.steps.append(self._weights()))

    def _weights(self) -> list[Tensor]:
        return [parameter.detach().clone() for parameter in self.model.parameters()]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


LAYERS = {'SAMON': ['norm.weight', 'norm.bias'], 'AWP': ['conv.weight', 'head.weight']}


@pytest.mark.parametrize('method', sorted(set(WEIGHT_PERTURBATIONS.module_dict) - set(ONE_PASS)))
def test_the_second_pass_is_displaced(method: str) -> None:
    """In the weights that the method is about; what the optimizer steps from is in the contract of the family."""
    torch.manual_seed(0)
    model = PlainNet()
    wrapper = wrap(model, perturbation=dict(type=method, rho=0.3))
    watch = Watch(model, wrapper.optimizer)
    model.train_step(plain_batches(1, dtype=torch.float32)[0], wrapper)
    assert len(watch.steps) == 1
    names = [name for name, _ in model.named_parameters()]
    at_start, displaced = watch.forwards[0], watch.forwards[-1]
    moved = [name for name, *both in zip(names, at_start, displaced, strict=True) if not torch.equal(*both)]
    # The normalisation that follows cancels this bias: its gradient is zero up to rounding, which processors differ in.
    names, moved = ([name for name in found if name != 'conv.bias'] for found in (names, moved))
    if method in ('ESAM', 'SSAMD'):  # at random
        assert len(moved) > 0
    else:
        assert moved == LAYERS.get(method, names)


@every_method
@pytest.mark.parametrize('config', [dict(), dict(same_dropout=True), dict(accumulative_counts=2)], ids=str)
def test_radius_zero_is_the_base_optimizer_bit_for_bit(method: str, config: dict) -> None:
    torch.manual_seed(0)
    model = PlainNet(dropout=0.5)
    reference = copy.deepcopy(model)
    batches = plain_batches(10, dtype=torch.float32)
    accumulation = {key: value for key, value in config.items() if key == 'accumulative_counts'}
    for candidate, wrapper in (
        (model, wrap(model, perturbation=dict(type=method, rho=0), **config)),
        (reference, wrap(reference, type='OptimWrapper', **accumulation)),
    ):
        torch.manual_seed(1)
        for batch in batches:
            candidate.train_step(batch, wrapper)
    assert_bitwise_same(model, reference)


@every_method
def test_a_zero_gradient_perturbs_nothing(training_case: Callable, method: str) -> None:
    model, (batch,) = training_case('plain', 1)
    reference = copy.deepcopy(model)
    model.head.register_forward_hook(lambda module, args, output: output * 0)
    reference.head.register_forward_hook(lambda module, args, output: output * 0)
    model.train_step(batch, wrap(model, perturbation=dict(type=method, rho=0.5)))
    reference.train_step(batch, wrap(reference, type='OptimWrapper'))
    for name in ('conv.weight', 'norm.weight', 'head.weight'):  # the weight decay alone moves them
        assert torch.equal(model.get_parameter(name), reference.get_parameter(name))


@every_method
def test_storage_and_memory_format_stay(method: str) -> None:
    model = PlainNet().to(memory_format=torch.channels_last)
    wrapper = wrap(model, perturbation=dict(type=method, rho=0.3))
    parameters = list(model.parameters())
    layout = [(parameter.data_ptr(), parameter.stride()) for parameter in parameters]
    for batch in plain_batches(3, dtype=torch.float32):
        model.train_step(batch, wrapper)
    assert model.conv.weight.is_contiguous(memory_format=torch.channels_last)
    assert [(parameter.data_ptr(), parameter.stride()) for parameter in parameters] == layout
    assert all(one is other for one, other in zip(model.parameters(), parameters, strict=True))


@every_method
def test_a_state_dict_is_that_of_the_optimizer_with_radius_and_memory(training_case: Callable, method: str) -> None:
    """No copy of the weights is in it but the memory that the method itself is made of."""
    model, batches = training_case('plain', 3)
    wrapper = wrap(model, perturbation=dict(type=method, rho=0.3))
    for batch in batches:
        model.train_step(batch, wrapper)
    state = wrapper.state_dict()
    plain = OptimWrapper(torch.optim.SGD(copy.deepcopy(model).parameters(), lr=1, momentum=0.9)).state_dict()
    assert set(state) - set(plain) == ({'perturbation'} if wrapper.method.state_dict() else set())
    assert set(state['param_groups'][0]) - set(plain['param_groups'][0]) == {'rho'}
    assert {key for entry in state['state'].values() for key in entry} == {'momentum_buffer'}

    resumed = wrap(model, perturbation=dict(type=method, rho=0.1))
    resumed.load_state_dict(copy.deepcopy(state))
    assert resumed.param_groups[0]['rho'] == 0.3


def test_a_plain_checkpoint_can_be_continued_with_sam(training_case: Callable) -> None:
    model, (batch,) = training_case('plain', 1)
    plain = wrap(model, type='OptimWrapper')
    model.train_step(batch, plain)
    wrapper = wrap(model, rho=0.2)
    wrapper.load_state_dict(copy.deepcopy(plain.state_dict()))
    assert wrapper.param_groups[0]['rho'] == 0.2
    watch = Watch(model, wrapper.optimizer)
    model.train_step(batch, wrapper)
    assert len(watch.forwards) == 2


@every_method
def test_a_nan_gradient_is_not_hidden(training_case: Callable, method: str) -> None:
    """As with the base optimizer the weights become NaN, where NonFiniteGuardHook sees them; statistics do not."""
    model, (batch,) = training_case('plain', 1)
    reference = copy.deepcopy(model)
    model.head.register_forward_hook(lambda module, args, output: output * torch.nan)
    model.train_step(batch, wrap(model, perturbation=dict(type=method, rho=0.3)))
    loss_of(reference, batch)
    assert bool(model.conv.weight.isnan().all())
    assert same(list(model.buffers()), list(reference.buffers()))


class SharedGradient(BaseModel):
    """Two parameters that are added: autograd hands out one tensor as the gradient of both."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64))
        self.delta = nn.Parameter(torch.tensor([3.0, -1.0], dtype=torch.float64))

    def forward(self, inputs: Tensor, labels: Tensor | None = None, mode: str = 'tensor') -> Any:
        return {'loss': ((self.base + self.delta) * inputs).square().sum()}


class ExpandedGradient(SharedGradient):
    """A sum: its gradient is one number seen as many."""

    def forward(self, inputs: Tensor, labels: Tensor | None = None, mode: str = 'tensor') -> Any:
        return {'loss': self.base.sum() + (self.delta * inputs).square().sum()}


@pytest.mark.parametrize('kind', [SharedGradient, ExpandedGradient])
@pytest.mark.parametrize(('method', 'offsets_of'), [('SAM', sam_offsets), ('ASAM', asam_offsets(0.01, True))])
def test_gradients_that_share_memory(kind: type[BaseModel], method: str, offsets_of: Callable) -> None:
    """Autograd's own tensors may alias each other; scaling one must not scale another."""
    model = kind()
    reference = copy.deepcopy(model)
    batch = {'inputs': torch.tensor([0.5, 2.0], dtype=torch.float64)}
    perturbation = dict(type=method, rho=0.3, **(dict(scaled='all') if method == 'ASAM' else {}))
    model.train_step(batch, wrap(model, dict(type='SGD', lr=0.1), perturbation=perturbation))
    accumulate(reference, batch, 0.3, offsets_of)
    torch.optim.SGD(reference.parameters(), lr=0.1).step()
    assert_same_state(model, reference)


# 3. Running statistics


@pytest.mark.parametrize('kind', ['plain', 'segmentor', 'classifier'])
@pytest.mark.parametrize('rho', [0.05, 5.0])
def test_running_statistics_are_those_of_one_plain_forward(training_case: Callable, kind: str, rho: float) -> None:
    model, (batch,) = training_case(kind, 1)
    reference = copy.deepcopy(model)
    model.train_step(copy.deepcopy(batch), wrap(model, rho=rho))
    loss_of(reference, batch)
    counters = [name for name, _ in model.named_buffers() if name.endswith('num_batches_tracked')]
    assert counters
    assert all(int(model.get_buffer(name)) == 1 for name in counters)
    assert same(list(model.buffers()), list(reference.buffers()))


def test_a_backbone_in_evaluation_mode_stays_there(training_case: Callable) -> None:
    """norm_eval: neither pass puts it in training mode or touches its statistics."""
    model, batches = training_case('segmentor', 2)
    model.backbone.norm_eval = True
    model.train()
    before = {name: buffer.clone() for name, buffer in model.backbone.named_buffers()}
    modes = [module.training for module in model.modules()]
    seen = []
    model.backbone.bn1.register_forward_hook(lambda module, *_: seen.append(module.training))
    reference = copy.deepcopy(model)
    wrapper = wrap(model, rho=0.05)
    for batch in batches:
        model.train_step(copy.deepcopy(batch), wrapper)
    assert seen == [False] * 4
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.backbone.named_buffers())

    plain = reference_optimizer(reference, SGD)
    for batch in batches:
        accumulate(reference, batch, 0.05)
        plain.step()
        plain.zero_grad()
    assert_same_state(model, reference)


# 5. Accumulation, clipping, schedule, dropout


def test_every_micro_batch_takes_its_own_ascent(training_case: Callable) -> None:
    model, batches = training_case('plain', 10)
    reference = copy.deepcopy(model)
    wrapper = wrap(model, rho=0.1, accumulative_counts=2)
    for index, batch in enumerate(batches):
        model.train_step(batch, wrapper)
        assert wrapper.inner_count == index + 1

    plain = reference_optimizer(reference, SGD)
    for first, second in zip(batches[::2], batches[1::2], strict=True):
        accumulate(reference, first, 0.1, share=0.5)
        accumulate(reference, second, 0.1, share=0.5)
        plain.step()
        plain.zero_grad()
    assert_same_state(model, reference)


def test_the_last_incomplete_accumulation_is_weighed_as_in_mmengine(training_case: Callable) -> None:
    model, batches = training_case('plain', 5)
    reference = copy.deepcopy(model)
    wrapper = wrap(model, rho=0.1, accumulative_counts=2)
    wrapper.initialize_count_status(model, 0, 5)
    for batch in batches:
        model.train_step(batch, wrapper)
    plain = reference_optimizer(reference, SGD)
    for group in (batches[:2], batches[2:4], batches[4:]):
        for batch in group:
            accumulate(reference, batch, 0.1, share=1 / len(group))
        plain.step()
        plain.zero_grad()
    assert_same_state(model, reference)


def test_between_micro_batches_only_descent_gradients_are_held(training_case: Callable) -> None:
    model, (batch,) = training_case('plain', 1)
    reference = copy.deepcopy(model)
    model.train_step(batch, wrap(model, rho=0.1, accumulative_counts=2))
    accumulate(reference, batch, 0.1, share=0.5)
    for parameter, expected in zip(model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, expected.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize('counts', [1, 2])
def test_only_the_final_gradient_is_clipped(training_case: Callable, counts: int) -> None:
    """The ascent has length rho whatever the clipping, and accumulated gradients are clipped once."""
    model, batches = training_case('plain', 10)
    reference = copy.deepcopy(model)
    wrapper = wrap(model, rho=0.3, accumulative_counts=counts, clip_grad=dict(max_norm=0.05))
    watch = Watch(model, wrapper.optimizer)
    for batch in batches:
        model.train_step(batch, wrapper)
    plain, clipped = reference_optimizer(reference, SGD), []
    for index, batch in enumerate(batches):
        accumulate(reference, batch, 0.3, share=1 / counts)
        if (index + 1) % counts == 0:
            clipped.append(float(nn.utils.clip_grad_norm_(list(reference.parameters()), 0.05)) > 0.05)
            plain.step()
            plain.zero_grad()
    assert any(clipped)
    assert_same_state(model, reference)
    lengths = [
        float(torch.cat([(b - a).reshape(-1) for a, b in zip(start, displaced, strict=True)]).norm())
        for start, displaced in zip(watch.forwards[::2], watch.forwards[1::2], strict=True)
    ]
    assert lengths == pytest.approx([0.3] * 10, rel=1e-9)


@pytest.mark.parametrize(
    ('config', 'perturbed'),
    [
        (dict(interval=3), [0, 3, 6, 9]),
        (dict(start_iter=4), [4, 5, 6, 7, 8, 9]),
        (dict(start_iter=2, interval=3), [2, 5, 8]),
        (dict(interval=2, accumulative_counts=2), [0, 1, 4, 5, 8, 9]),
        (dict(start_iter=3, accumulative_counts=2), [6, 7, 8, 9]),
    ],
    ids=str,
)
def test_schedule_counts_optimizer_steps(training_case: Callable, config: dict, perturbed: list[int]) -> None:
    """All micro-batches of an optimizer step are treated alike; the other steps are the base optimizer's."""
    model, batches = training_case('plain', 10)
    reference = copy.deepcopy(model)
    wrapper = wrap(model, rho=0.2, **config)
    forwards = []
    for batch in batches:
        handle = model.register_forward_hook(lambda *_: forwards[-1].append(1))
        forwards.append([])
        model.train_step(batch, wrapper)
        handle.remove()
    assert [index for index, calls in enumerate(forwards) if len(calls) == 2] == perturbed
    assert all(len(calls) in (1, 2) for calls in forwards)

    counts = config.get('accumulative_counts', 1)
    plain = reference_optimizer(reference, SGD)
    for index, batch in enumerate(batches):
        if index in perturbed:
            accumulate(reference, batch, 0.2, share=1 / counts)
        else:
            (loss_of(reference, batch) / counts).backward()
        if (index + 1) % counts == 0:
            plain.step()
            plain.zero_grad()
    assert_same_state(model, reference)


def test_schedule_goes_on_where_a_resumed_run_stands(training_case: Callable) -> None:
    model, batches = training_case('plain', 3)
    wrapper = wrap(model, rho=0.2, interval=3)
    wrapper.initialize_count_status(model, 7, 20)  # what the runner does after 7 iterations
    watch = Watch(model, wrapper.optimizer)
    counts = []
    for batch in batches:
        model.train_step(batch, wrapper)
        counts.append(len(watch.forwards))
    assert counts == [1, 2, 4]  # iterations 7 and 8 are plain, iteration 9 is due


def dropout_runs(rho: float, same_dropout: bool, steps: int = 3) -> tuple[list[Tensor], list[float], Tensor]:
    """Return the masks and losses of every forward, and the random state after them."""
    torch.manual_seed(0)
    model = PlainNet(dropout=0.5).double()
    masks, losses = [], []
    model.dropout.register_forward_hook(lambda module, args, output: masks.append(output != 0))
    model.register_forward_hook(lambda module, args, output: losses.append(float(output['loss'])))
    wrapper = wrap(model, rho=rho, same_dropout=same_dropout)
    torch.manual_seed(5)
    for batch in plain_batches(steps, size=32):
        model.train_step(batch, wrapper)
    return masks, losses, torch.get_rng_state()


def test_same_dropout_uses_one_mask_for_both_passes() -> None:
    masks, losses, state = dropout_runs(rho=1e-9, same_dropout=True)
    for first, second in zip(masks[::2], masks[1::2], strict=True):
        assert torch.equal(first, second)
    assert losses[::2] == pytest.approx(losses[1::2], abs=1e-7)  # the limit of a vanishing radius
    assert not torch.equal(masks[0], masks[2])
    # the stream of random numbers is that of plain training
    plain_masks, _, plain_state = dropout_runs(rho=0, same_dropout=True)
    assert all(torch.equal(one, other) for one, other in zip(masks[::2], plain_masks, strict=True))
    assert torch.equal(state, plain_state)


def test_by_default_each_pass_draws_its_own_mask() -> None:
    masks, losses, _ = dropout_runs(rho=1e-9, same_dropout=False)
    assert not torch.equal(masks[0], masks[1])
    assert abs(losses[0] - losses[1]) > 1e-4


@every_method
def test_sync_ascent_changes_nothing_in_one_process(training_case: Callable, method: str) -> None:
    model, batches = training_case('plain', 4)
    model.spare = nn.Linear(2, 2).double()  # unused: its gradient is None
    reference = copy.deepcopy(model)
    for candidate, sync in ((model, True), (reference, False)):
        wrapper = wrap(candidate, perturbation=dict(type=method, rho=0.2), sync_ascent=sync)
        for batch in batches:
            candidate.train_step(batch, wrapper)
    assert_same_state(model, reference, tolerance=1e-12)


# 6. The radius in param_groups


def rho_schedule(wrapper: OptimWrapper, **config: Any) -> Any:
    """The config of a user; mmengine's *LR schedulers are these with param_name='lr'."""
    config = dict(type='LinearParamScheduler', param_name='rho', begin=0, by_epoch=False, **config)
    return PARAM_SCHEDULERS.build(config, default_args=dict(optimizer=wrapper))


def test_a_scheduler_of_mmengine_drives_the_radius(training_case: Callable) -> None:
    model, batches = training_case('plain', 10)
    reference = copy.deepcopy(model)
    wrapper = wrap(model, rho=0.4)
    scheduler = rho_schedule(wrapper, start_factor=0.25, end_factor=1.0, end=6)
    radii = []
    for batch in batches:
        radii.append(wrapper.param_groups[0]['rho'])
        model.train_step(batch, wrapper)
        scheduler.step()
    assert radii == pytest.approx([0.1, 0.16, 0.22, 0.28, 0.34, 0.4, 0.4, 0.4, 0.4, 0.4])

    plain = reference_optimizer(reference, SGD)
    for batch, rho in zip(batches, radii, strict=True):
        accumulate(reference, batch, rho)
        plain.step()
        plain.zero_grad()
    assert_same_state(model, reference)


def grouped_offsets(multipliers: dict[str, float]) -> Callable:
    """Each layer its own rho; a layer with rho 0 is not part of the ascent, so not of its norm either."""

    def offsets(names: list[str], weights: list[Tensor], gradients: list[Tensor], rho: float) -> list[Tensor]:
        factors = [multipliers.get(name.partition('.')[0], 1) for name in names]
        moving = [g.reshape(-1) for g, factor in zip(gradients, factors, strict=True) if factor]
        length = torch.cat(moving).norm()
        return [rho * factor * gradient / length for gradient, factor in zip(gradients, factors, strict=True)]

    return offsets


@pytest.mark.parametrize('factor', [0, 0.1, 3])
def test_rho_mult_scales_the_radius_of_a_layer(training_case: Callable, factor: float) -> None:
    model, batches = training_case('plain', 10)
    reference = copy.deepcopy(model)
    wrapper = wrap(model, rho=0.3, paramwise_cfg=dict(custom_keys={'norm': dict(rho_mult=factor)}))
    watch = Watch(model, wrapper.optimizer)
    for batch in batches:
        model.train_step(batch, wrapper)
    position = [name for name, _ in model.named_parameters()].index('norm.weight')
    moved = not torch.equal(watch.forwards[0][position], watch.forwards[1][position])
    assert moved == (factor > 0)

    plain = reference_optimizer(reference, SGD)
    for batch in batches:
        accumulate(reference, batch, 0.3, grouped_offsets({'norm': factor}))
        plain.step()
        plain.zero_grad()
    assert_same_state(model, reference)


def test_schedule_and_rho_mult_together(training_case: Callable) -> None:
    """The scheduler keeps the ratio between the groups; the base radius is what it logs."""
    model, batches = training_case('plain', 3)
    wrapper = wrap(model, rho=0.2, paramwise_cfg=dict(custom_keys={'head': dict(rho_mult=0.5)}))
    scheduler = rho_schedule(wrapper, start_factor=0.5, end_factor=1.0, end=3)
    assert wrapper.base_param_settings['rho'] == pytest.approx(0.1)
    for batch in batches:
        model.train_step(batch, wrapper)
        scheduler.step()
    radii = {group.get('rho_mult', 1): group['rho'] for group in wrapper.optimizer.param_groups}
    assert radii == pytest.approx({1: 0.2, 0.5: 0.1})


# 7. Loud failures


class OwnTrainStep(PlainNet):
    def train_step(self, data: dict, optim_wrapper: Any) -> dict:
        with optim_wrapper.optim_context(self):
            loss = self(**data, mode='loss')['loss']
        optim_wrapper.update_params(loss)
        return {'loss': loss}


class TwoForwards(PlainNet):
    """Its loss runs the whole model twice, as some self-supervised methods do."""

    def _run_forward(self, data: Any, mode: str) -> Any:
        super()._run_forward(data, mode)
        return super()._run_forward(data, mode)


def test_a_training_step_of_another_kind_is_refused() -> None:
    model = OwnTrainStep().double()
    with pytest.raises(TypeError, match=r'OwnTrainStep has its own train_step.*use a plain OptimWrapper'):
        model.train_step(plain_batches(1)[0], wrap(model))


def test_several_optimizers_are_refused() -> None:
    model = PlainNet().double()
    wrapper = OptimWrapperDict(conv=wrap(model.conv), head=wrap(model.head))
    with pytest.raises(NotImplementedError, match='called by each optimizer separately'):
        model.train_step(plain_batches(1)[0], wrapper)


def test_two_loss_forwards_in_one_step_are_refused() -> None:
    model = TwoForwards().double()
    with pytest.raises(RuntimeError, match=r'exactly one loss forward inside optim_context.*got 2'):
        model.train_step(plain_batches(1)[0], wrap(model))


def test_update_params_without_a_loss_forward_is_refused() -> None:
    model, wrapper = PlainNet().double(), None
    wrapper = wrap(model)
    loss = F.cross_entropy(model(plain_batches(1)[0]['inputs']), plain_batches(1)[0]['labels'])
    with pytest.raises(RuntimeError, match=r'exactly one loss forward inside optim_context.*got 0'):  # noqa: SIM117
        with wrapper.optim_context(model):
            wrapper.update_params(loss)


def test_update_params_outside_optim_context_is_refused() -> None:
    """Or SAM would silently become the base optimizer, in a GAN's own train_step for instance."""
    model = PlainNet().double()
    batch = plain_batches(1)[0]
    wrapper = wrap(model)
    with pytest.raises(RuntimeError, match='optim_context'):
        wrapper.update_params(model(**batch, mode='loss')['loss'])


@pytest.mark.parametrize('kind', ['SAMOptimWrapper', 'ASAMOptimWrapper', 'AmpSAMOptimWrapper', 'AmpASAMOptimWrapper'])
@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dict(perturbation=dict(type='Sharp')), r"'Sharp' is unknown; the known ones are .*ASAM.*SAM"),
        (dict(rho=-0.05), 'rho must be a finite number of at least 0; got -0.05'),
        (dict(rho=0.1, perturbation=dict(rho=0.2)), 'rho is given twice'),
        (dict(interval=0), 'interval must be a whole number of at least 1'),
        (dict(start_iter=-1), 'start_iter must be a whole number of at least 0'),
        (dict(perturbation=dict(type='SAM', eta=0.01)), 'SAM does not accept these parameters: .*eta'),
    ],
    ids=str,
)
def test_wrong_settings_are_named(kind: str, config: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wrap(PlainNet(), type=kind, **config)


def test_an_unknown_keyword_is_refused() -> None:
    """A misspelt radius must not be swallowed."""
    with pytest.raises(TypeError, match='rhoo'):
        wrap(PlainNet(), rhoo=0.1)


# The config surface


def test_the_types_are_in_the_root_registry() -> None:
    """Every OpenMMLab project finds them, whatever its default_scope."""
    for name in ('SAMOptimWrapper', 'ASAMOptimWrapper', 'AmpSAMOptimWrapper', 'AmpASAMOptimWrapper'):
        assert name in OPTIM_WRAPPERS.module_dict


def test_parameters_of_the_perturbation_may_stand_beside_the_type() -> None:
    wrapper = wrap(PlainNet(), type='ASAMOptimWrapper', rho=0.7, eta=0.2, scaled='all')
    assert isinstance(wrapper.perturbation, ASAM)
    assert (wrapper.perturbation.rho, wrapper.perturbation.eta, wrapper.perturbation.scaled) == (0.7, 0.2, 'all')
    assert wrapper.param_groups[0]['rho'] == 0.7
    mixed = wrap(PlainNet(), rho=0.7, perturbation=dict(type='ASAM', eta=0.2))
    assert (mixed.perturbation.rho, mixed.perturbation.eta) == (0.7, 0.2)


def test_an_instance_of_a_perturbation_is_taken_as_it_is() -> None:
    perturbation = SAM(rho=0.3)
    wrapper = SAMOptimWrapper(torch.optim.SGD(PlainNet().parameters(), lr=0.1), perturbation=perturbation)
    assert wrapper.perturbation is perturbation
    assert wrapper.param_groups[0]['rho'] == 0.3


def test_an_optimizer_with_a_rho_of_its_own_is_refused() -> None:
    model = PlainNet()
    with pytest.raises(ValueError, match='Adadelta has its own parameter rho'):
        SAMOptimWrapper(optimizer=torch.optim.Adadelta(model.parameters()), rho=0.05)


def test_a_group_that_is_added_later_has_the_radius_of_its_layer() -> None:
    model = PlainNet().double()
    wrapper = wrap(model, perturbation=dict(type='SAM', rho=0.2))
    added = [dict(params=[nn.Parameter(torch.ones(2))]), dict(params=[nn.Parameter(torch.ones(2))], rho_mult=0.5)]
    for group in added:
        wrapper.optimizer.add_param_group(group)
    model.train_step(plain_batches(1)[0], wrapper)
    assert [group['rho'] for group in wrapper.param_groups] == [0.2, 0.2, 0.1]


def test_activation_checkpointing_is_refused() -> None:
    model = PlainNet().double()
    model.conv.with_cp = True
    wrapper = SAMOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=0.1), rho=0.05)
    with pytest.raises(ValueError, match='conv has with_cp=True'):
        model.train_step(plain_batches(1)[0], wrapper)


def test_a_momentum_encoder_is_not_updated_twice() -> None:
    class WithTeacher(PlainNet):
        def __init__(self) -> None:
            super().__init__()
            self.teacher = torch.nn.Parameter(torch.zeros(1), requires_grad=False)

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            with torch.no_grad():
                self.teacher.add_(1)
            return super().forward(*args, **kwargs)

    model = WithTeacher().double()
    wrapper = SAMOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=0.1), rho=0.05)
    before = {name: value.clone() for name, value in model.named_parameters()}
    with pytest.raises(RuntimeError, match='changes teacher, a parameter that is not trained'):
        model.train_step(plain_batches(1)[0], wrapper)
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters() if name != 'teacher')
