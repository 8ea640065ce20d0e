"""Contract of every weight perturbation of the registry: what it may change, and what it must leave alone."""

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from small_models import FAMILY, ONE_PASS, PlainNet, SampledNet, plain_batches
from torch import Tensor, nn

from samat_mm.registry import WEIGHT_PERTURBATIONS

SGD = dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=1e-2)
DISPLACED_STEP = ['AWP']
REMEMBERS_THE_FIRST_PASS = ['ESAM', 'ESAM by coordinates', 'ESAM over FisherSAM', 'SSAMF', 'SSAMD', 'FriendlySAM']
REMEMBERS_THE_FIRST_PASS += ['SAMON over FriendlySAM']
TWO_PASSES = [case for case in FAMILY if case not in REMEMBERS_THE_FIRST_PASS + ONE_PASS]
any_case = pytest.mark.parametrize('case', FAMILY)
every_case = pytest.mark.parametrize('case', FAMILY)


def wrap(model: nn.Module, case: str, lr: float = 0.05, **config: Any) -> Any:
    config = {'type': 'SAMOptimWrapper', 'optimizer': {**SGD, 'lr': lr}, **copy.deepcopy(FAMILY[case]), **config}
    return build_optim_wrapper(model, config)


def plain(model: nn.Module, **config: Any) -> Any:
    return build_optim_wrapper(model, dict(type='OptimWrapper', optimizer=dict(SGD), **config))


def net(dtype: torch.dtype = torch.float64, kind: type[PlainNet] = SampledNet, **config: Any) -> PlainNet:
    torch.manual_seed(0)
    return kind(**config).to(dtype).train()


def train(model: nn.Module, wrapper: Any, batches: list[dict]) -> nn.Module:
    for batch in batches:
        model.train_step(batch, wrapper)
    return model


def weights_of(model: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def assert_bitwise_same(first: Any, second: Any, where: str = '') -> None:
    if isinstance(first, Tensor):
        assert torch.equal(first, second), where
    elif isinstance(first, dict):
        assert first.keys() == second.keys(), where
        for key, value in first.items():
            assert_bitwise_same(value, second[key], f'{where}.{key}')
    else:
        assert first == second, where


def finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(finite(entry) for entry in value.values())
    return not isinstance(value, Tensor) or bool(torch.isfinite(value.float()).all())


def test_every_registered_method_is_tested() -> None:
    assert set(WEIGHT_PERTURBATIONS.module_dict) <= {entry['perturbation']['type'] for entry in FAMILY.values()}
    assert all(WEIGHT_PERTURBATIONS.build(copy.deepcopy(entry['perturbation'])) for entry in FAMILY.values())


# The way back


@every_case
def test_the_optimizer_steps_from_the_bits_of_before(case: str) -> None:
    """In float32, where adding and subtracting an offset would leave other bits."""
    model = net(torch.float32)
    wrapper = wrap(model, case)
    steps: list[list[Tensor]] = []
    wrapper.optimizer.register_step_pre_hook(lambda *_: steps.append(weights_of(model)))
    for batch in plain_batches(7, dtype=torch.float32):
        start = weights_of(model)
        model.train_step(batch, wrapper)
        assert same(steps[-1], start) == (case not in DISPLACED_STEP)
    assert len(steps) == 7


@every_case
def test_at_learning_rate_zero_nothing_moves_in_the_end(case: str) -> None:
    """Nor do buffers but for the running statistics of the first forward of each step, displaced step or not."""
    model, seen = net(torch.float32), []
    reference = copy.deepcopy(model)
    wrapper = wrap(model, case, lr=0)
    start = weights_of(model)
    handle = model.register_forward_pre_hook(lambda module, args, kwargs: seen.append(kwargs), with_kwargs=True)
    for batch in plain_batches(4, dtype=torch.float32):
        seen.clear()
        model.train_step(batch, wrapper)
        first = batch if 'ascent_share' not in FAMILY[case] or len(seen) == 1 else {k: v[:3] for k, v in batch.items()}
        with torch.autocast('cpu', torch.bfloat16, enabled='ascent_dtype' in FAMILY[case]):
            reference(**first, mode='loss')
    handle.remove()
    assert same(weights_of(model), start)
    if case not in ONE_PASS:
        assert same(list(model.buffers()), list(reference.buffers()))


class Refuse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        raise ArithmeticError('backward')


def fail_at(model: SampledNet, forward: int, where: str) -> Callable[[], None]:
    """Make the given forward fail behind the normalisation; return what undoes it."""
    calls = []

    def fail(module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        calls.append(where)
        if len(calls) != forward + 1:
            return output
        if where == 'forward':
            raise ArithmeticError('forward')
        return Refuse.apply(output)

    return model.norm.register_forward_hook(fail).remove


def forwards_of_first_step(case: str) -> int:
    """Return how many forwards the first step runs: two, one more for a selection or for squared gradients."""
    model, calls = net(), []
    model.norm.register_forward_hook(lambda *_: calls.append(1))
    train(model, wrap(model, case), plain_batches(1))
    return len(calls)


@every_case
@pytest.mark.parametrize('where', ['forward', 'backward'])
def test_an_exception_after_the_first_pass_leaves_no_trace(case: str, where: str) -> None:
    """In whatever later forward, the selection of ESAM included, and in the last backward."""
    last = forwards_of_first_step(case) - 1
    first, *others = plain_batches(4)
    for forward in range(1, last + 1) if where == 'forward' else [last]:
        model = net()
        reference, start = copy.deepcopy(model), weights_of(model)
        wrapper, fresh = wrap(model, case), wrap(reference, case)
        restore = fail_at(model, forward, where)
        with pytest.raises(ArithmeticError, match=where):
            model.train_step(first, wrapper)
        restore()
        assert same(list(model.parameters()), start)
        half = {key: value[:3] for key, value in first.items()}
        reference(**(half if 'ascent_share' in FAMILY[case] else first), mode='loss')
        assert same(list(model.buffers()), list(reference.buffers()))
        assert wrapper.inner_count == 0
        assert model.conv.weight.grad is None
        if where == 'forward':
            assert all(parameter.grad is None for parameter in model.parameters())

        wrapper.zero_grad()
        train(model, wrapper, others)
        assert not same(weights_of(model), start)
        if case in TWO_PASSES:
            assert_bitwise_same(model.state_dict(), train(reference, fresh, others).state_dict())


@pytest.mark.parametrize(
    'case',
    TWO_PASSES,
)
@pytest.mark.parametrize('where', ['forward', 'backward'])
def test_a_micro_batch_that_failed_does_not_count(case: str, where: str) -> None:
    """The second micro-batch of a step fails and is given again; what failed must not be mixed into the step."""
    model = net()
    reference = copy.deepcopy(model)
    first, spoilt, *others = plain_batches(6)
    wrapper, fresh = (wrap(candidate, case, accumulative_counts=2) for candidate in (model, reference))
    train(model, wrapper, [first])
    held = [parameter.grad.clone() for parameter in model.parameters()]
    restore = fail_at(model, 1, where)
    with pytest.raises(ArithmeticError, match=where):
        model.train_step(spoilt, wrapper)
    restore()
    for parameter, gradient in zip(model.parameters(), held, strict=True):
        parameter.grad = gradient  # the user's business, as with any optimizer
    train(model, wrapper, others)
    train(reference, fresh, [first, *others])
    assert same(weights_of(model), weights_of(reference))


# Radius zero, frozen and unused parameters


@any_case
@pytest.mark.parametrize('config', [dict(), dict(accumulative_counts=2), dict(clip_grad=dict(max_norm=0.1))], ids=str)
def test_radius_zero_is_the_base_optimizer_bit_for_bit(case: str, config: dict) -> None:
    batches = plain_batches(8, dtype=torch.float32)
    ends = []
    for sharp in (True, False):
        model, own = net(torch.float32, dropout=0.5), copy.deepcopy(config)
        perturbation = {**copy.deepcopy(FAMILY[case]['perturbation']), 'rho': 0}
        wrapper = wrap(model, case, perturbation=perturbation, **own) if sharp else plain(model, **own)
        torch.manual_seed(1)
        ends.append(train(model, wrapper, batches).state_dict())
    assert_bitwise_same(*ends)


@every_case
def test_frozen_and_unused_parameters_stay_out(case: str) -> None:
    """They never move and get no gradient; masks by random numbers may depend on how many parameters there are."""
    model = net()
    model.conv.weight.requires_grad_(False)
    reference = copy.deepcopy(model)
    model.spare = nn.Linear(3, 3).double()
    kept = [model.spare.weight.detach().clone(), model.conv.weight.detach().clone()]
    wrapper = wrap(model, case)
    model.register_forward_pre_hook(lambda *_: seen.append([model.spare.weight.clone(), model.conv.weight.clone()]))
    seen: list[list[Tensor]] = []
    train(model, wrapper, plain_batches(7))
    train(reference, wrap(reference, case), plain_batches(7))
    assert seen
    assert all(same(weights, kept) for weights in seen)
    assert model.spare.weight.grad is None
    assert same([model.spare.weight, model.conv.weight], kept)
    if FAMILY[case]['perturbation']['type'] not in ('ESAM', 'SSAMD'):
        for name, value in reference.state_dict().items():
            assert torch.equal(model.state_dict()[name], value), name


# Checkpoints


def saved(state: dict) -> dict:
    """Return what comes back from a file that holds nothing but tensors and plain values."""
    file = io.BytesIO()
    torch.save(copy.deepcopy(state), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@every_case
@pytest.mark.parametrize('kind', ['SAMOptimWrapper', 'AmpSAMOptimWrapper'])
def test_a_run_continued_from_a_file_is_the_uninterrupted_one(case: str, kind: str) -> None:
    """Saved in the middle of everything: between two looks, while squares are collected, between two masks."""
    config = dict(type=kind, **(dict(loss_scale=dict(growth_interval=3)) if kind.startswith('Amp') else {}))
    batches = plain_batches(13, dtype=torch.float32)
    whole = net(torch.float32)
    wrapper = wrap(whole, case, **config)
    wrapper.initialize_count_status(whole, 0, 13)
    train(whole, wrapper, batches[:7])
    weights, state = saved(whole.state_dict()), saved(wrapper.state_dict())

    other = net(torch.float32)
    other.load_state_dict(weights)
    resumed = wrap(other, case, **config)
    resumed.load_state_dict(state)
    resumed.initialize_count_status(other, 7, 13)
    train(whole, wrapper, batches[7:])
    train(other, resumed, batches[7:])
    assert_bitwise_same(other.state_dict(), whole.state_dict())
    assert_bitwise_same(resumed.state_dict(), wrapper.state_dict())


@pytest.fixture(scope='module')
def checkpoints() -> dict[str, dict]:
    states = {}
    for case in FAMILY:
        model = net(kind=PlainNet)
        wrapper = wrap(model, case)
        train(model, wrapper, plain_batches(5))
        states[case] = saved(wrapper.state_dict())
    return states


@pytest.mark.parametrize('case', [*FAMILY, 'plain'])
def test_any_checkpoint_of_the_family_can_be_continued(case: str, checkpoints: dict[str, dict]) -> None:
    for state in checkpoints.values():
        model = net(kind=PlainNet)
        wrapper = plain(model) if case == 'plain' else wrap(model, case)
        wrapper.load_state_dict(copy.deepcopy(state))
        train(model, wrapper, plain_batches(2))
        assert finite(model.state_dict())


@every_case
def test_a_plain_checkpoint_can_be_continued(case: str) -> None:
    model = net()
    before = plain(model)
    train(model, before, plain_batches(2))
    wrapper = wrap(model, case)
    wrapper.load_state_dict(saved(before.state_dict()))
    train(model, wrapper, plain_batches(2))
    assert wrapper.param_groups[0]['rho'] == FAMILY[case]['perturbation']['rho']


def test_loading_leaves_the_memory_in_the_checkpoint_as_it_is(checkpoints: dict[str, dict]) -> None:
    """So that it can be loaded once more, and is not trained on through shared tensors."""
    for case, checkpoint in checkpoints.items():
        state, model = copy.deepcopy(checkpoint), net(kind=PlainNet)
        wrapper = wrap(model, case)
        wrapper.load_state_dict(state)
        train(model, wrapper, plain_batches(4))
        assert_bitwise_same(state.get('perturbation'), checkpoint.get('perturbation'), case)


def test_a_radius_from_a_checkpoint_replaces_a_radius_of_zero(checkpoints: dict[str, dict]) -> None:
    for case in FAMILY:
        model = net(kind=PlainNet)
        wrapper = wrap(model, case, perturbation={**FAMILY[case]['perturbation'], 'rho': 0})
        wrapper.load_state_dict(copy.deepcopy(checkpoints['SAM']))
        train(model, wrapper, plain_batches(1))
        assert wrapper.param_groups[0]['rho'] == 0.2


# Accumulation and clipping


EACH_FOR_ITSELF = [case for case in TWO_PASSES if 'LookSAM' not in case]


@pytest.mark.parametrize('case', EACH_FOR_ITSELF)
def test_a_batch_given_twice_in_a_step_counts_as_once(case: str) -> None:
    """Each micro-batch takes the ascent of the full loss, whatever the accumulation divides it by."""
    ends = []
    for counts in (1, 2):
        model = net()
        batches = [batch for batch in plain_batches(4) for _ in range(counts)]
        ends.append(weights_of(train(model, wrap(model, case, accumulative_counts=counts), batches)))
    for one, other in zip(*ends, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize('case', [case for case in FAMILY if case not in ONE_PASS])
def test_every_micro_batch_takes_an_ascent(case: str) -> None:
    model, displaced = net(), []
    wrapper = wrap(model, case, accumulative_counts=2)  # the first step of LookSAM looks
    start = weights_of(model)
    model.register_forward_pre_hook(lambda *_: displaced.append(not same(weights_of(model), start)))
    for batch in plain_batches(2):
        displaced.clear()
        model.train_step(batch, wrapper)
        assert displaced[0] is False
        assert displaced[-1] is True


def gradients_at(model: SampledNet, weights: list[Tensor], batch: dict) -> dict[str, Tensor]:
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter, value in zip(other.parameters(), weights, strict=True):
            parameter.copy_(value)
    names, parameters = zip(*other.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(other(**batch, mode='loss')['loss'], parameters), strict=True))


@pytest.mark.parametrize('case', ['LookSAM', 'GSAM', 'WSAM coupled', 'LookSAM over ASAM'])  # WSAM clips both: below
@pytest.mark.parametrize('counts', [1, 2])
def test_gradients_are_mixed_once_per_step(case: str, counts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The method gets the gradients that the optimizer would get, at both places, before clipping."""
    model = net()
    wrapper = wrap(model, case, accumulative_counts=counts, clip_grad=dict(max_norm=0.05))
    calls, forwards, stepped = [], [], []
    combine = wrapper.method.combine

    def spy(clean: dict, perturbed: dict | None) -> dict:
        given = copy.deepcopy((clean, perturbed))
        calls.append((*given, {name: value.clone() for name, value in combine(clean, perturbed).items()}))
        return calls[-1][-1]

    monkeypatch.setattr(wrapper.method, 'combine', spy)
    handle = model.register_forward_pre_hook(lambda *_: forwards.append(weights_of(model)))
    wrapper.optimizer.register_step_pre_hook(
        lambda *_: stepped.append({name: p.grad.clone() for name, p in model.named_parameters()})
    )
    batches = plain_batches(counts)
    train(model, wrapper, batches)
    handle.remove()
    ((clean, perturbed, combined),) = calls
    assert len(forwards) == 2 * counts
    for found, passes in ((clean, forwards[::2]), (perturbed, forwards[1::2])):
        each = [gradients_at(model, weights, batch) for weights, batch in zip(passes, batches, strict=True)]
        for name, value in found.items():
            wanted = sum(gradients[name] for gradients in each) / counts
            torch.testing.assert_close(value, wanted, rtol=1e-9, atol=1e-12)
    length = torch.cat([value.flatten() for value in combined.values()]).norm()
    assert length > 0.05
    for name, value in stepped[0].items():
        torch.testing.assert_close(value, combined[name] * 0.05 / length, rtol=1e-4, atol=1e-9)


@every_case
def test_clipping_touches_the_final_gradient_only(case: str) -> None:
    """Every forward of the first step is at the same weights as without, and the gradient is that one, shortened."""
    forwards: list[list[list[Tensor]]] = []
    gradients: list[list[Tensor]] = []
    for clip in (None, dict(max_norm=1e-3)):
        model = net()
        wrapper = wrap(model, case, clip_grad=clip)
        seen: list[list[Tensor]] = []
        model.register_forward_pre_hook(lambda module, args, seen=seen: seen.append(weights_of(module)))
        wrapper.optimizer.register_step_pre_hook(
            lambda *_, model=model: gradients.append([p.grad.clone() for p in model.parameters()])
        )
        train(model, wrapper, plain_batches(1))
        forwards.append(seen)
    assert all(same(one, other) for one, other in zip(*forwards, strict=True))
    length = torch.cat([gradient.flatten() for gradient in gradients[0]]).norm()
    for whole, clipped in zip(*gradients, strict=True):
        torch.testing.assert_close(clipped, whole * 1e-3 / length, rtol=1e-2, atol=1e-12)


def clipped(gradients: dict[str, Tensor], clip: dict | None) -> dict[str, Tensor]:
    """WSAM's authors clip both gradients before their difference is taken."""
    if clip is None:
        return gradients
    length = torch.cat([gradient.flatten() for gradient in gradients.values()]).norm()
    return {name: gradient * (clip['max_norm'] / (length + 1e-6)).clamp_max(1) for name, gradient in gradients.items()}


@pytest.mark.parametrize('clip', [None, dict(max_norm=1e-3)], ids=['free', 'clipped'])
def test_the_sharpness_term_of_wsam_descends_beside_the_optimizer(clip: dict | None) -> None:
    """lr a (g_s - g) comes off the weights after the step, without momentum or adaptive scales."""
    model = net()
    wrapper = wrap(model, 'WSAM', optimizer=dict(type='Adam', lr=0.01), clip_grad=clip)
    (batch,), forwards, grads = plain_batches(1), [], []
    start = weights_of(model)
    handle = model.register_forward_pre_hook(lambda *_: forwards.append(weights_of(model)))
    wrapper.optimizer.register_step_pre_hook(lambda *_: grads.append([p.grad.clone() for p in model.parameters()]))
    model.train_step(batch, wrapper)
    handle.remove()
    clean, sharp = (clipped(gradients_at(model, weights, batch), clip) for weights in forwards)
    reference = [torch.nn.Parameter(value) for value in start]
    for parameter, gradient in zip(reference, grads[0], strict=True):
        parameter.grad = gradient
    torch.optim.Adam(reference, lr=0.01).step()
    for (name, found), expected in zip(model.named_parameters(), reference, strict=True):
        expected = expected.detach() - 0.01 * 0.6 / 0.4 * (sharp[name] - clean[name])
        torch.testing.assert_close(found.detach(), expected, rtol=1e-9, atol=1e-11)
