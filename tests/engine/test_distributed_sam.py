"""Sharpness-aware steps of two processes: equal replicas, defined semantics, no deadlock.

One pair of processes (gloo) runs every scenario, since starting it is what takes the time; the tests then look at
what each process saved.
"""

import copy
import math
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import torch
from mmengine.model import MMDistributedDataParallel, MMSeparateDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from small_models import FAMILY, PlainNet, SampledNet, plain_batches
from torch import Tensor, distributed, nn
from torch.multiprocessing import ProcessExitedException, ProcessRaisedException
from torch.nn import functional as F

RANKS, STEPS = 2, 20
TIMEOUT = 60  # seconds after which a deadlock is a failure
SGD = dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=1e-2)
SCENARIOS = {
    'sam': dict(type='SAMOptimWrapper', rho=0.2),
    'asam': dict(type='ASAMOptimWrapper', rho=0.5),
    'sync': dict(type='SAMOptimWrapper', rho=0.2, sync_ascent=True),
    'accumulation': dict(type='SAMOptimWrapper', rho=0.2, accumulative_counts=2),
    'accumulation and sync': dict(type='SAMOptimWrapper', rho=0.2, accumulative_counts=2, sync_ascent=True),
    'interval': dict(type='SAMOptimWrapper', rho=0.2, interval=2),
    'unused': dict(type='SAMOptimWrapper', rho=0.2),
    'unused and sync': dict(type='SAMOptimWrapper', rho=0.2, sync_ascent=True),
    'amp': dict(type='AmpSAMOptimWrapper', rho=0.2, dtype='bfloat16'),
    'radius zero': dict(type='SAMOptimWrapper', rho=0),
    'plain': dict(type='OptimWrapper'),
}
MEMBERS = {name: case for name, case in FAMILY.items() if name not in ('ascent in bfloat16', 'ascent on half')}
FAMILY_STEPS = 7
OVERFLOWS = {'first pass': 2, 'second pass': 3}  # the forward of rank 1 whose gradient overflows


def starting_model(scenario: str) -> PlainNet:
    torch.manual_seed(0)
    model = PlainNet()
    if scenario.startswith('unused'):
        model.spare = nn.Linear(2, 2)
    return model if scenario == 'amp' else model.double()


def data_of(rank: int, dtype: torch.dtype = torch.float64) -> list[dict]:
    return plain_batches(STEPS, dtype=dtype, seed=100 + rank)


# In the processes


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=RANKS, timeout=timedelta(seconds=TIMEOUT)
    )
    result: dict[str, Any] = {name: run_scenario(name, rank) for name in SCENARIOS}
    result['overflow'] = {where: run_overflow(forward, rank) for where, forward in OVERFLOWS.items()}
    result['refusal'] = refusal_of_separate_wrapping()
    result['family'] = {name: attempt(run_member, name, rank) for name in MEMBERS}
    result['family, one ascent'] = {name: attempt(run_member, name, rank, True) for name in COMPARABLE}
    result['mixing'] = {name: run_mixing(name, rank) for name in MIXING}
    result['used by one'] = attempt(run_used_by_one, rank)
    others = [name for name in MEMBERS if name != 'SSAMF']
    result['family overflow'] = {name: run_member_overflow(name, rank) for name in others}
    torch.save(result, f'{folder}/rank{rank}.pt')
    distributed.barrier()
    # Processes that exchange different things may abort: last, when all else is saved.
    torch.save(attempt(run_member_overflow, 'SSAMF', rank), f'{folder}/late{rank}.pt')
    distributed.barrier()
    distributed.destroy_process_group()


def attempt(run: Callable, *args: Any) -> Any:
    """Return what ``run`` does, or its error, so that one method does not fail the tests of the others."""
    try:
        return run(*args)
    except RuntimeError as error:
        return {'error': str(error)}


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def run_scenario(name: str, rank: int) -> dict[str, Any]:
    model = starting_model(name)
    ddp = MMDistributedDataParallel(
        module=model, broadcast_buffers=False, find_unused_parameters=name.startswith('unused')
    )
    wrapper = build_optim_wrapper(ddp, dict(optimizer=SGD, **SCENARIOS[name]))
    forwards, synchronised = [], []
    model.register_forward_pre_hook(lambda *_: forwards.append(model.head.weight.detach().clone()))
    model.register_forward_pre_hook(lambda *_: synchronised.append(ddp.require_backward_grad_sync))
    trajectory = []
    for batch in data_of(rank, next(model.parameters()).dtype):
        ddp.train_step(batch, wrapper)
        trajectory.append(state_of(model))
    return {'trajectory': trajectory, 'forwards': forwards, 'synchronised': synchronised}


def run_overflow(forward: int, rank: int) -> dict[str, Any]:
    """The second step overflows, on rank 1 only."""
    model = starting_model('amp')
    ddp = MMDistributedDataParallel(module=model, broadcast_buffers=False)
    wrapper = build_optim_wrapper(ddp, dict(optimizer=SGD, **SCENARIOS['amp']))
    calls = []

    def overflow(module: nn.Module, args: tuple, output: Tensor) -> None:
        if rank == 1 and len(calls) == forward:
            output.register_hook(lambda gradient: torch.full_like(gradient, math.inf))
        calls.append(1)

    model.head.register_forward_hook(overflow)
    trajectory, scales, momentum = [], [], []
    for batch in data_of(rank, torch.float32)[:4]:
        ddp.train_step(batch, wrapper)
        trajectory.append({name: value.detach().clone() for name, value in model.named_parameters()})
        scales.append(wrapper.loss_scaler.get_scale())
        momentum.append([state['momentum_buffer'].clone() for state in wrapper.optimizer.state.values()])
    return {'trajectory': trajectory, 'scales': scales, 'momentum': momentum}


def wrapped(
    model: nn.Module, name: str, find_unused_parameters: bool = False, **config: Any
) -> tuple[MMDistributedDataParallel, Any]:
    ddp = MMDistributedDataParallel(
        module=model, broadcast_buffers=False, find_unused_parameters=find_unused_parameters
    )
    settings = {'type': 'SAMOptimWrapper', 'optimizer': dict(SGD), **copy.deepcopy(MEMBERS[name]), **config}
    return ddp, build_optim_wrapper(ddp, settings)


def run_member(name: str, rank: int, sync_ascent: bool = False) -> dict[str, Any]:
    torch.manual_seed(0)
    model = comparable_model() if sync_ascent else SampledNet().double()
    # which samples are hurt most is decided among those of a process
    ddp, wrapper = wrapped(model, name, sync_ascent=sync_ascent, **(comparable_settings(name) if sync_ascent else {}))
    trajectory, memory = [], []
    for batch in data_of(rank)[:FAMILY_STEPS]:
        ddp.train_step(batch, wrapper)
        trajectory.append(state_of(model))
        memory.append(copy.deepcopy(wrapper.method.state_dict()))
    return {'trajectory': trajectory, 'memory': memory}


class SpareNet(SampledNet):
    """The same with a weight that only some processes use."""

    def __init__(self, uses_spare: bool) -> None:
        super().__init__()
        self.spare, self.uses_spare = nn.Parameter(torch.ones(2, 1, 1)), uses_spare

    def forward(self, inputs: Tensor, *args: Any, **kwargs: Any) -> Any:
        return super().forward(inputs * self.spare if self.uses_spare else inputs, *args, **kwargs)


def run_used_by_one(rank: int) -> list[Any]:
    torch.manual_seed(0)
    model = SpareNet(rank == 1).double()
    ddp, wrapper = wrapped(model, 'SSAMF', find_unused_parameters=True)
    for batch in data_of(rank)[:FAMILY_STEPS]:
        ddp.train_step(batch, wrapper)
    return [weights(state_of(model)), wrapper.method.state_dict()]


def run_mixing(name: str, rank: int) -> list[dict[str, Tensor]]:
    """Each process with an ascent of its own, two micro-batches per step."""
    torch.manual_seed(0)
    model = SampledNet().double()
    ddp, wrapper = wrapped(model, name, accumulative_counts=2)
    trajectory = []
    for batch in data_of(rank)[: 2 * FAMILY_STEPS]:
        ddp.train_step(batch, wrapper)
        trajectory.append(state_of(model))
    return trajectory[1::2]


def run_member_overflow(name: str, rank: int) -> list[dict[str, Any]]:
    """The first pass of the third step overflows, on rank 1 only."""
    torch.manual_seed(0)
    model, calls, steps = SampledNet(), [], []
    ddp, wrapper = wrapped(model, name, type='AmpSAMOptimWrapper', dtype='bfloat16')

    def overflow(module: nn.Module, args: tuple, output: Tensor) -> None:
        if rank == 1 and len(steps) == 2 and not calls:
            calls.append(1)
            output.register_hook(lambda gradient: torch.full_like(gradient, math.inf))

    model.head.register_forward_hook(overflow)
    for batch in data_of(rank, torch.float32)[:FAMILY_STEPS]:
        ddp.train_step(batch, wrapper)
        steps.append({'weights': {name: value.detach().clone() for name, value in model.named_parameters()}})
        steps[-1]['memory'] = copy.deepcopy(wrapper.method.state_dict())
        steps[-1]['scale'] = wrapper.loss_scaler.get_scale()
    return steps


# With one ascent for all processes, two of them are one process with both batches, if no layer mixes the samples.

COMPARABLE = [name for name in MEMBERS if 'on half' not in name]


def comparable_model() -> SampledNet:
    torch.manual_seed(0)
    return SampledNet(norm=nn.GroupNorm(2, 4)).double()


def comparable_settings(name: str) -> dict[str, Any]:
    case = copy.deepcopy(MEMBERS[name])
    if case['perturbation']['type'] == 'ESAM':
        case['perturbation']['gamma'] = 1.0
    if case['perturbation']['type'] == 'SSAMF':
        case['perturbation']['samples'] = 24  # two steps of both
    return case


# Mixing by the papers' equations, on the gradients of a whole step


def flat(gradients: list[Tensor]) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients])


def mixed_gsam(plain: Tensor, sharp: Tensor | None, memory: dict) -> Tensor:
    orthogonal = plain - (plain @ sharp) / (sharp @ sharp) * sharp
    return sharp - 0.3 * orthogonal


def mixed_wsam(plain: Tensor, sharp: Tensor | None, memory: dict) -> Tensor:
    return plain + 0.6 / 0.4 * (sharp - plain)


def mixed_looksam(plain: Tensor, sharp: Tensor | None, memory: dict) -> Tensor:
    if sharp is None:
        return plain + 0.7 * plain.norm() / memory['v'].norm() * memory['v']
    memory['v'] = sharp - (sharp @ plain) / (plain @ plain) * plain
    return sharp


MIXING = {'GSAM': (1, mixed_gsam), 'WSAM coupled': (1, mixed_wsam), 'LookSAM': (3, mixed_looksam)}


def refusal_of_separate_wrapping() -> str:
    ddp = MMSeparateDistributedDataParallel(starting_model('sam'), broadcast_buffers=False)
    wrapper = build_optim_wrapper(ddp.module, dict(optimizer=SGD, **SCENARIOS['sam']))
    try:
        with wrapper.optim_context(ddp):
            pass
    except TypeError as error:
        return str(error)
    return 'not refused'


# In the test


@pytest.fixture(scope='module')
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Return what each process saved; a process that hangs is ended and fails the tests."""
    folder = tmp_path_factory.mktemp('ranks')
    context = torch.multiprocessing.start_processes(
        worker, args=(str(folder),), nprocs=RANKS, join=False, start_method='fork'
    )
    saved = [folder / f'rank{rank}.pt' for rank in range(RANKS)]
    try:
        deadline = time.monotonic() + 2 * TIMEOUT
        while not context.join(timeout=1):
            assert time.monotonic() < deadline, 'the processes wait for each other'
    except (ProcessExitedException, ProcessRaisedException):
        if not all(path.exists() for path in saved):
            raise
    finally:
        for process in context.processes:
            process.kill()
    results = [torch.load(path) for path in saved]
    for rank, result in enumerate(results):
        late = folder / f'late{rank}.pt'
        result['family overflow']['SSAMF'] = torch.load(late) if late.exists() else {'error': 'it aborted'}
    return results


def weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leave the running statistics out, which each process keeps of its own samples."""
    return {name: value for name, value in state.items() if 'running' not in name and 'tracked' not in name}


@pytest.mark.parametrize('scenario', SCENARIOS)
def test_replicas_are_equal_to_the_last_bit_at_every_step(ranks: list[dict], scenario: str) -> None:
    """Each sees other samples and, but for sync, other perturbations."""
    first, second = (rank[scenario]['trajectory'] for rank in ranks)
    assert len(first) == len(second) == STEPS
    for one, other in zip(first, second, strict=True):
        assert weights(one).keys() == weights(other).keys()
        assert all(torch.equal(value, other[name]) for name, value in weights(one).items())
    assert not torch.equal(first[0]['norm.running_mean'], second[0]['norm.running_mean'])
    assert not torch.equal(first[-1]['head.weight'], first[1]['head.weight'])


# The reference: both processes as one plain loop


def loss_of(model: nn.Module, batch: dict) -> Tensor:
    return F.cross_entropy(model(batch['inputs']), batch['labels'])


def offsets_sam(names: list[str], start: list[Tensor], gradients: list[Tensor], rho: float) -> list[Tensor]:
    length = torch.cat([gradient.reshape(-1) for gradient in gradients]).norm()
    return [rho * gradient / length for gradient in gradients]


def offsets_asam(names: list[str], start: list[Tensor], gradients: list[Tensor], rho: float) -> list[Tensor]:
    scales = [w.abs() + 0.01 if n.endswith('weight') else torch.ones_like(w) for n, w in zip(names, start, strict=True)]
    length = torch.cat([(s * g).reshape(-1) for s, g in zip(scales, gradients, strict=True)]).norm()
    return [rho * s * s * g / length for s, g in zip(scales, gradients, strict=True)]


def reference(
    steps: list[list[list[dict]]], rho: float, sync: bool = False, interval: int = 1, offsets_of: Callable = offsets_sam
) -> list[dict[str, Tensor]]:
    """Train on steps[step][micro-batch][rank]; return the weights after each step.

    By default each process has its own ascent (m-sharpness); with sync the ascent follows the mean gradient.
    """
    model = starting_model('sam')
    names = [name for name, _ in model.named_parameters()]
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=1e-2)
    trajectory = []
    for index, micro_batches in enumerate(steps):
        for batches in micro_batches:
            start = [parameter.detach().clone() for parameter in parameters]
            ascents = [torch.autograd.grad(loss_of(model, batch), parameters) for batch in batches]
            if sync:
                ascents = [[sum(each) / len(ascents) for each in zip(*ascents, strict=True)]] * len(batches)
            for batch, ascent in zip(batches, ascents, strict=True):
                radius = rho if index % interval == 0 else 0
                with torch.no_grad():
                    for parameter, offset in zip(
                        parameters, offsets_of(names, start, list(ascent), radius), strict=True
                    ):
                        parameter.add_(offset)
                (loss_of(model, batch) / len(batches) / len(micro_batches)).backward()
                with torch.no_grad():
                    for parameter, value in zip(parameters, start, strict=True):
                        parameter.copy_(value)
        optimizer.step()
        optimizer.zero_grad()
        trajectory.append({name: p.detach().clone() for name, p in zip(names, parameters, strict=True)})
    return trajectory


def steps_of(counts: int = 1) -> list[list[list[dict]]]:
    iterations = [list(batches) for batches in zip(*(data_of(rank) for rank in range(RANKS)), strict=True)]
    return [iterations[start : start + counts] for start in range(0, STEPS, counts)]


@pytest.mark.parametrize(
    ('scenario', 'counts', 'settings'),
    [
        ('sam', 1, dict(rho=0.2)),
        ('asam', 1, dict(rho=0.5, offsets_of=offsets_asam)),
        ('sync', 1, dict(rho=0.2, sync=True)),
        ('accumulation', 2, dict(rho=0.2)),
        ('accumulation and sync', 2, dict(rho=0.2, sync=True)),
        ('interval', 1, dict(rho=0.2, interval=2)),
        ('unused', 1, dict(rho=0.2)),
        ('unused and sync', 1, dict(rho=0.2, sync=True)),
    ],
)
def test_trajectory_equals_a_hand_written_loop(ranks: list[dict], scenario: str, counts: int, settings: dict) -> None:
    found = ranks[0][scenario]['trajectory'][counts - 1 :: counts]
    expected = reference(steps_of(counts), **settings)
    assert len(found) == len(expected) == STEPS // counts
    for state, wanted in zip(found, expected, strict=True):
        for name, value in wanted.items():
            torch.testing.assert_close(state[name], value, rtol=1e-9, atol=1e-9)


def test_the_two_semantics_are_not_the_same(ranks: list[dict]) -> None:
    """So that the tests above can tell m-sharpness from one perturbation of the whole batch."""
    first, second = (ranks[0][name]['trajectory'][-1]['conv.weight'] for name in ('sam', 'sync'))
    assert float((first - second).abs().max()) > 1e-5


@pytest.mark.parametrize(('scenario', 'shared'), [('sam', False), ('sync', True)])
def test_who_shares_a_perturbation(ranks: list[dict], scenario: str, shared: bool) -> None:
    """The second forward of a step is at the same weights everywhere with sync_ascent only."""
    first, second = (rank[scenario]['forwards'] for rank in ranks)
    assert len(first) == len(second) == 2 * STEPS
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1]) == shared
    assert not torch.equal(first[0], first[1])


def test_steps_that_are_not_due_run_one_forward(ranks: list[dict]) -> None:
    assert [len(rank['interval']['forwards']) for rank in ranks] == [STEPS * 3 // 2] * 2


@pytest.mark.parametrize(
    ('scenario', 'expected'),
    [
        ('sam', [False, True] * STEPS),
        ('interval', [False, True, True] * (STEPS // 2)),
        ('accumulation', [False, False, False, True] * (STEPS // 2)),
        ('plain', [True] * STEPS),
    ],
)
def test_only_the_last_backward_of_a_step_exchanges_gradients(
    ranks: list[dict], scenario: str, expected: list[bool]
) -> None:
    assert all(rank[scenario]['synchronised'] == expected for rank in ranks)


def test_radius_zero_is_plain_distributed_training(ranks: list[dict]) -> None:
    one, other = (ranks[0][name]['trajectory'][-1] for name in ('radius zero', 'plain'))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize('rank', range(RANKS))
def test_running_statistics_follow_the_first_forward_of_each_process(ranks: list[dict], rank: int) -> None:
    model = starting_model('sam')
    batch = data_of(rank)[0]
    model(batch['inputs'])
    state = ranks[rank]['sam']['trajectory'][0]
    assert int(state['norm.num_batches_tracked']) == 1
    for name in ('norm.running_mean', 'norm.running_var'):
        torch.testing.assert_close(state[name], model.state_dict()[name], rtol=1e-12, atol=1e-12)
    assert int(ranks[rank]['sam']['trajectory'][-1]['norm.num_batches_tracked']) == STEPS


@pytest.mark.parametrize('where', OVERFLOWS)
def test_an_overflow_of_one_process_skips_the_step_of_all(ranks: list[dict], where: str) -> None:
    """Both keep weights and momentum and halve the scale, and stay equal afterwards."""
    runs = [rank['overflow'][where] for rank in ranks]
    for run in runs:
        after_good, after_overflow, *later = run['trajectory']
        assert all(torch.equal(value, after_good[name]) for name, value in after_overflow.items())
        assert all(torch.equal(a, b) for a, b in zip(run['momentum'][0], run['momentum'][1], strict=True))
        assert run['scales'] == [2.0**16, 2.0**15, 2.0**15, 2.0**15]
        assert all(bool(torch.isfinite(value).all()) for state in later for value in state.values())
        assert not torch.equal(later[0]['conv.weight'], after_overflow['conv.weight'])
    for one, other in zip(runs[0]['trajectory'], runs[1]['trajectory'], strict=True):
        assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_wrappers_with_parts_of_a_model_are_refused(ranks: list[dict]) -> None:
    for rank in ranks:
        assert 'MMSeparateDistributedDataParallel' in rank['refusal']


# The whole family


def assert_same(first: Any, second: Any, tolerance: float = 0.0) -> None:
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for key, value in first.items():
            assert_same(value, second[key], tolerance)
    elif isinstance(first, Tensor) and first.is_floating_point():
        torch.testing.assert_close(first, second, rtol=tolerance, atol=tolerance)
    elif isinstance(first, Tensor):
        assert torch.equal(first, second)
    else:
        assert first == second


every_member = pytest.mark.parametrize('name', MEMBERS)


@every_member
def test_replicas_and_memories_of_every_method_are_equal_at_every_step(ranks: list[dict], name: str) -> None:
    """Each process sees other samples: what is remembered must have been averaged."""
    first, second = (rank['family'][name] for rank in ranks)
    assert 'error' not in first, first
    for one, other in zip(first['trajectory'], second['trajectory'], strict=True):
        assert_same(weights(one), weights(other))
    for one, other in zip(first['memory'], second['memory'], strict=True):
        assert_same(one, other)
    assert len(first['trajectory']) == FAMILY_STEPS
    assert not torch.equal(first['trajectory'][0]['norm.running_mean'], second['trajectory'][0]['norm.running_mean'])
    assert not torch.equal(first['trajectory'][0]['head.weight'], first['trajectory'][-1]['head.weight'])


def test_a_weight_that_one_process_does_not_use_stops_none(ranks: list[dict]) -> None:
    """Both sum the squared gradients of the same weights, which a mask over all of them needs."""
    assert 'error' not in ranks[0]['used by one'], ranks[0]['used by one']
    for one, other in zip(*(rank['used by one'] for rank in ranks), strict=True):
        assert_same(one, other)
    assert 'spare' in ranks[0]['used by one'][1]['mask']


@pytest.mark.parametrize('name', COMPARABLE)
def test_with_one_ascent_two_processes_are_one_with_both_batches(ranks: list[dict], name: str) -> None:
    """Weights and memory alike: gradients, squares of single samples, masks and random numbers."""
    model = comparable_model()
    config = {'type': 'SAMOptimWrapper', 'optimizer': dict(SGD), **comparable_settings(name)}
    wrapper = build_optim_wrapper(model, config)
    found = ranks[0]['family, one ascent'][name]
    assert 'error' not in found, found
    for step, (batches,) in enumerate(steps_of()[:FAMILY_STEPS]):
        model.train_step({key: torch.cat([batch[key] for batch in batches]) for key in batches[0]}, wrapper)
        assert_same(found['trajectory'][step], model.state_dict(), tolerance=1e-9)
        assert_same(found['memory'][step], wrapper.method.state_dict(), tolerance=1e-9)


@pytest.mark.parametrize('name', MIXING)
def test_mixing_equals_a_hand_written_loop(ranks: list[dict], name: str) -> None:
    """Each micro-batch of each process ascends on its own; what is mixed are the means over all of them."""
    interval, mixed = MIXING[name]
    torch.manual_seed(0)
    model, memory = SampledNet().double(), {}
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=1e-2)
    for step, micro_batches in enumerate(steps_of(2)[:FAMILY_STEPS]):
        plain, sharp = torch.zeros(()), torch.zeros(())
        batches = [batch for ranked in micro_batches for batch in ranked]
        start = [parameter.detach().clone() for parameter in parameters]
        for batch in batches:
            ascent = torch.autograd.grad(loss_of(model, batch), parameters)
            plain = plain + flat(ascent) / len(batches)
            with torch.no_grad():
                for parameter, gradient in zip(parameters, ascent, strict=True):
                    parameter.add_(0.2 * gradient / flat(ascent).norm())
            sharp = sharp + flat(torch.autograd.grad(loss_of(model, batch), parameters)) / len(batches)
            with torch.no_grad():
                for parameter, value in zip(parameters, start, strict=True):
                    parameter.copy_(value)
        descent = mixed(plain, sharp if step % interval == 0 else None, memory)
        pieces = descent.split([parameter.numel() for parameter in parameters])
        for parameter, piece in zip(parameters, pieces, strict=True):
            parameter.grad = piece.view_as(parameter)
        optimizer.step()
        for parameter_name, value in model.named_parameters():
            found = ranks[0]['mixing'][name][step][parameter_name]
            torch.testing.assert_close(found, value.detach(), rtol=1e-9, atol=1e-9)


@every_member
def test_an_overflow_of_one_process_skips_the_step_of_all_whatever_the_method(ranks: list[dict], name: str) -> None:
    """Both go through the same exchanges, or the processes would wait for each other or mistake one for another."""
    first, second = (rank['family overflow'][name] for rank in ranks)
    assert 'error' not in first, first
    assert_same(first[2]['weights'], first[1]['weights'])
    for one, other in zip(first, second, strict=True):
        assert_same(one['weights'], other['weights'])
        assert all(bool(torch.isfinite(value).all()) for value in one['weights'].values())
    assert [step['scale'] for step in first] == [2.0**16] * 2 + [2.0**15] * (FAMILY_STEPS - 2)
    assert not torch.equal(first[-1]['weights']['head.weight'], first[2]['weights']['head.weight'])


@every_member
def test_after_an_overflow_of_one_process_memories_are_still_equal(ranks: list[dict], name: str) -> None:
    first, second = (rank['family overflow'][name] for rank in ranks)
    assert 'error' not in first, first
    for one, other in zip(first, second, strict=True):
        assert_same(one['memory'], other['memory'])
