"""Mixed precision for every method: nothing feels the loss scale, and an overflow leaves nothing behind."""

import copy
import math
from typing import Any

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from small_models import FAMILY, ONE_PASS, PlainNet, SampledNet, plain_batches
from torch import Tensor, nn

SGD = dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=1e-2)
# what the first pass went into is not undone by an overflow in the second
REMEMBERS_THE_FIRST_PASS = ['SSAMF', 'SSAMD', 'FriendlySAM', 'SAMON over FriendlySAM', 'ESAM by coordinates']
every_case = pytest.mark.parametrize('case', FAMILY)


def wrap(model: nn.Module, case: str, kind: str = 'AmpSAMOptimWrapper', **config: Any) -> Any:
    return build_optim_wrapper(model, dict(type=kind, optimizer=dict(SGD), **copy.deepcopy(FAMILY[case]), **config))


def net(kind: type[PlainNet] = SampledNet, dtype: torch.dtype = torch.float64) -> PlainNet:
    torch.manual_seed(0)
    return kind().to(dtype).train()


def train(model: nn.Module, wrapper: Any, batches: list[dict]) -> nn.Module:
    for batch in batches:
        model.train_step(batch, wrapper)
    return model


def assert_bitwise_same(model: nn.Module, reference: nn.Module) -> None:
    for (name, value), expected in zip(model.named_parameters(), reference.parameters(), strict=True):
        assert torch.equal(value, expected), name


def tensors_of(value: Any) -> list[Tensor]:
    if isinstance(value, dict):
        return [tensor for entry in value.values() for tensor in tensors_of(entry)]
    return [value] if isinstance(value, Tensor) else []


def finite(*values: Any) -> bool:
    return all(bool(torch.isfinite(tensor.float()).all()) for value in values for tensor in tensors_of(value))


def equal(first: Any, second: Any) -> bool:
    return all(torch.equal(one, other) for one, other in zip(tensors_of(first), tensors_of(second), strict=True))


@every_case
@pytest.mark.parametrize('kind', [SampledNet, PlainNet], ids=['sample losses', 'no sample losses'])
@pytest.mark.parametrize('counts', [1, 2])
def test_without_anything_to_cast_it_is_the_full_precision_wrapper(case: str, kind: type, counts: int) -> None:
    """Autocast leaves float64 alone, and the scale is a power of two that grows: the bits are the same all along."""
    model, reference = net(kind), net(kind)
    amp = wrap(model, case, accumulative_counts=counts, loss_scale=dict(growth_interval=2))
    full = wrap(reference, case, 'SAMOptimWrapper', accumulative_counts=counts)
    train(model, amp, plain_batches(12))
    train(reference, full, plain_batches(12))
    assert amp.loss_scaler.get_scale() > 2.0**16
    assert_bitwise_same(model, reference)


@pytest.mark.parametrize('kind', [SampledNet, PlainNet], ids=['sample losses', 'no sample losses'])
def test_the_mask_of_ssam_does_not_feel_a_scale_that_changes(kind: type) -> None:
    """Squared gradients of several batches are added; none may count more because its loss was scaled more."""
    sums = []
    for wrapper_kind, config in (
        ('SAMOptimWrapper', {}),
        ('AmpSAMOptimWrapper', dict(loss_scale=dict(growth_interval=1))),
    ):
        model = net(kind)
        settings = dict(type=wrapper_kind, optimizer=dict(SGD), perturbation=dict(type='SSAMF', samples=128), **config)
        wrapper = build_optim_wrapper(model, settings)
        train(model, wrapper, plain_batches(4))
        sums.append(wrapper.method.state_dict()['fisher'])
    assert equal(*sums)


@every_case
def test_the_lower_precision_stays_near_the_full_one(case: str) -> None:
    batches = plain_batches(6, dtype=torch.float32)
    full, low = net(dtype=torch.float32), net(dtype=torch.float32)
    start = full.head.weight.detach().clone()
    # which samples ESAM finds hurt most may well depend on the precision
    share = dict(gamma=1.0) if FAMILY[case]['perturbation']['type'] == 'ESAM' else {}
    perturbation = {**copy.deepcopy(FAMILY[case]['perturbation']), **share}
    for model, settings in (
        (full, dict(type='SAMOptimWrapper')),
        (low, dict(type='AmpSAMOptimWrapper', dtype='bfloat16')),
    ):
        config = {**FAMILY[case], 'perturbation': copy.deepcopy(perturbation), 'optimizer': dict(SGD), **settings}
        train(model, build_optim_wrapper(model, config), batches)
    assert float((low.head.weight - full.head.weight).detach().norm()) < 0.2 * float(
        (full.head.weight - start).detach().norm()
    )


@pytest.mark.parametrize('selection', ['forward', 'bfloat16', 'loss'])
def test_a_selection_forward_does_not_take_the_gradients_of_the_second_pass(selection: str) -> None:
    """Autocast caches its casts; those made without gradients must not serve the forward with them."""
    model = net(dtype=torch.float32)
    perturbation = dict(type='ESAM', rho=0.2, selection=selection)
    wrapper = build_optim_wrapper(
        model, dict(type='AmpSAMOptimWrapper', dtype='bfloat16', optimizer=dict(SGD), perturbation=perturbation)
    )
    gradients: list[Tensor | None] = []
    wrapper.optimizer.register_step_pre_hook(lambda *_: gradients.extend(p.grad for p in model.parameters()))
    train(model, wrapper, plain_batches(1, dtype=torch.float32))
    assert all(gradient is not None and bool(gradient.any()) for gradient in gradients)


# Overflow


class Overflow:
    """Makes the gradient that one chosen pass of the next step sends back through the head infinite."""

    def __init__(self, model: PlainNet) -> None:
        self.model, self.forwards = model, 0
        self.start: list[Tensor] | None = None
        model.head.register_forward_hook(self)

    def arm(self, where: str) -> None:
        self.where, self.forwards = where, 0
        self.start = [parameter.detach().clone() for parameter in self.model.parameters()]

    def __call__(self, module: nn.Module, args: tuple, output: Tensor) -> None:
        if self.start is None or not output.requires_grad:
            return
        parameters = self.model.parameters()
        displaced = not all(torch.equal(one, other) for one, other in zip(parameters, self.start, strict=True))
        now = 'second pass' if displaced else ('first pass', 'squares')[self.forwards]
        self.forwards += 1
        if now == self.where:
            self.start = None
            output.register_hook(lambda gradient: torch.full_like(gradient, math.inf))


def without(case: str, model: PlainNet, wrapper: Any, batches: int = 1) -> None:
    """Do the part of a skipped step that need not be undone: count it, and draw the tensors of ESAM."""
    for _ in range(batches if 'ESAM' in case else 0):
        wrapper.method.choose(dict(model.named_parameters()), {})
    wrapper.initialize_count_status(model, wrapper.inner_count + batches, -1)


@every_case
@pytest.mark.parametrize(('where', 'step'), [('first pass', 5), ('first pass', 6), ('second pass', 6)])
@pytest.mark.parametrize('counts', [1, 2])
def test_an_overflow_skips_the_step_and_poisons_no_memory(case: str, where: str, step: int, counts: int) -> None:
    """In any micro-batch. The steps after it are those of a run that never saw it, but for what its good passes taught.

    For LookSAM an ascent is due at step 6, and none at step 5. A method of one pass has that at the displaced weights.
    """
    if case in ONE_PASS and where == 'first pass':
        pytest.skip('it has no pass at the weights themselves')
    batches = plain_batches((step + 4) * counts)
    before, spoilt, after = batches[: step * counts], batches[step * counts :][:counts], batches[(step + 1) * counts :]
    (model, wrapper), (reference, clean) = (
        (candidate, wrap(candidate, case, accumulative_counts=counts)) for candidate in (net(), net())
    )
    train(model, wrapper, before)
    overflow = Overflow(model)
    start = copy.deepcopy([dict(model.named_parameters()), wrapper.optimizer.state_dict()])
    memory = copy.deepcopy(wrapper.method.state_dict())
    *good, bad = spoilt
    train(model, wrapper, good)
    overflow.arm(where)
    train(model, wrapper, [bad])
    assert overflow.start is None
    assert wrapper.loss_scaler.get_scale() == 2.0**15
    assert equal(dict(model.named_parameters()), start[0])
    assert equal(wrapper.optimizer.state_dict(), start[1])
    assert finite(model.state_dict(), wrapper.method.state_dict())
    nothing_learnt = (where == 'first pass' and not good) or case not in REMEMBERS_THE_FIRST_PASS
    if nothing_learnt and 'ESAM' not in case:
        assert equal(wrapper.method.state_dict(), memory)

    train(model, wrapper, after)
    assert wrapper.loss_scaler.get_scale() == 2.0**15
    assert finite(model.state_dict(), wrapper.method.state_dict())
    assert not equal(dict(model.named_parameters()), start[0])
    if nothing_learnt:
        train(reference, clean, before)
        without(case, reference, clean, batches=counts)
        train(reference, clean, after)
        assert_bitwise_same(model, reference)
        assert equal(wrapper.method.state_dict(), clean.method.state_dict())


@every_case
def test_an_overflow_in_the_first_of_two_micro_batches_skips_both(case: str) -> None:
    for where in ('first pass',) if case in ONE_PASS else ('first pass', 'second pass'):
        model = net()
        wrapper = wrap(model, case, accumulative_counts=2)
        start = copy.deepcopy(dict(model.named_parameters()))
        Overflow(model).arm(where)
        train(model, wrapper, plain_batches(2))
        assert equal(dict(model.named_parameters()), start)
        train(model, wrapper, plain_batches(4))
        assert finite(model.state_dict(), wrapper.method.state_dict())
        assert not equal(dict(model.named_parameters()), start)


def test_an_overflow_among_squared_gradients_does_not_spoil_the_mask() -> None:
    """Gradients of single samples overflow before that of the batch does; the sums must stay finite."""
    model = net()
    perturbation = dict(type='SSAMF', rho=0.2, samples=60)
    config = dict(type='AmpSAMOptimWrapper', optimizer=dict(SGD), perturbation=perturbation)
    wrapper = build_optim_wrapper(model, config)
    overflow = Overflow(model)
    train(model, wrapper, plain_batches(2))
    overflow.arm('squares')
    train(model, wrapper, plain_batches(2, seed=3))
    assert overflow.start is None
    assert finite(wrapper.method.state_dict())


def test_an_overflow_does_not_reach_into_a_step_whose_weights_have_no_gradient() -> None:
    """ESAM may draw nothing but unused weights; such a step is plain, whatever happened in the one before."""
    model = net()
    model.spare = nn.Linear(2, 2).double()
    perturbation = dict(type='ESAM', rho=0.2, beta=1e-9, seed=0)
    config = dict(type='AmpSAMOptimWrapper', optimizer=dict(SGD), perturbation=perturbation)
    wrapper = build_optim_wrapper(model, config)
    draws = iter([['head.weight'], ['spare.weight']])
    wrapper.method.choose = lambda weights, owners: next(draws)
    overflow = Overflow(model)
    overflow.arm('first pass')
    first, second = plain_batches(2)
    start = model.head.weight.detach().clone()
    train(model, wrapper, [first])
    assert torch.equal(model.head.weight, start)
    train(model, wrapper, [second])
    assert not torch.equal(model.head.weight, start)


@pytest.mark.parametrize('scale', [2.0**4, 2.0**16])
def test_wsam_takes_its_second_term_without_the_scale(scale: float) -> None:
    """The decoupled term never passes through the scaler's step."""
    ends = []
    for kind, config in (('AmpSAMOptimWrapper', dict(loss_scale=scale)), ('SAMOptimWrapper', {})):
        model = net()
        train(model, wrap(model, 'WSAM', kind, clip_grad=dict(max_norm=0.1), **config), plain_batches(5))
        ends.append(model)
    assert_bitwise_same(*ends)
