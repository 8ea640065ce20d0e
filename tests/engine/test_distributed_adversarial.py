"""Adversarial training of two processes: one model, its gradients averaged, each with perturbations of its own."""

import copy

import pytest
import torch
from helpers import MEAN, STD, ClassificationImages, SegmentationImages, classifier, runner, segmentor, state_of
from mmengine.model import MMDistributedDataParallel
from test_trades_hook import ATTACK, BETA, SAM, Fed, batches, loss_of
from torch import distributed, multiprocessing

from samat_mm.engine.hooks import FreePerturbationHook, TRADESHook

KINDS = {'classes': (classifier, ClassificationImages), 'maps': (segmentor, SegmentationImages)}
EPS = 8 / 255
FREE = dict(type='FreeIterBasedTrainLoop', max_iters=6, replays=2, perturbation=dict(eps=EPS))


def one_of_two(rank, folder):
    torch.set_num_threads(1)
    distributed.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    result = {}
    for kind, (build, data) in KINDS.items():
        hook = TRADESHook(BETA, ATTACK)
        fed, images = Fed(hook), data(12)
        found = state_of(trained(build, images, f'{folder}/{kind}-trades', hooks=[hook]).model.module)
        own = batches(images, range(rank, 12, 2))
        result[kind, 'trades'] = {'found': found, 'expected': averaged_by_hand(build, own, fed.adversarial)}
        hook = TRADESHook(BETA, ATTACK)
        run = trained(build, images, f'{folder}/{kind}-sam', hooks=[hook], optim_wrapper=copy.deepcopy(SAM))
        result[kind, 'trades and sam'] = {'found': state_of(run.model.module)}
        run = trained(build, images, f'{folder}/{kind}-free', train_cfg=FREE)
        hook = next(hook for hook in run.hooks if isinstance(hook, FreePerturbationHook))
        result[kind, 'free'] = {'found': state_of(run.model.module), 'delta': hook._carried}
    torch.save(result, f'{folder}/{rank}.pt')
    distributed.barrier()
    distributed.destroy_process_group()


def trained(build, data, work_dir, **more):
    model = build().double()
    parallel = MMDistributedDataParallel(module=model, broadcast_buffers=False, find_unused_parameters=True)
    run = runner(parallel, work_dir, train=data, iterations=3, **more)
    run.train()
    return run


def averaged_by_hand(build, given, adversarial_inputs):
    """TRADES with the gradient of each process, averaged over both."""
    model = build().double().train()
    std, mean = (torch.tensor(values).double().reshape(3, 1, 1) for values in (STD, MEAN))
    for (pixels, target), inputs in zip(given, adversarial_inputs, strict=True):
        loss = loss_of(model, pixels, (inputs * std + mean) / 255, target)
        parameters = list(model.parameters())
        for weight, grad in zip(parameters, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True):
            if grad is not None:
                distributed.all_reduce(grad)
                weight.data -= 0.1 * grad / 2
    return state_of(model)


@pytest.fixture(scope='module')
def two(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp('two'))
    multiprocessing.start_processes(one_of_two, args=(folder,), nprocs=2, start_method='fork')
    return [torch.load(f'{folder}/{rank}.pt') for rank in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize('kind', list(KINDS))
def test_trades_descends_along_the_average_of_both_gradients(two, kind):
    """The term is inside the distributed wrapper: its gradient is averaged as that of the model's own loss."""
    for result in two:
        entry = result[kind, 'trades']
        for key, value in entry['expected'].items():
            torch.testing.assert_close(entry['found'][key], value, rtol=1e-5, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize('kind', list(KINDS))
@pytest.mark.parametrize('method', ['trades', 'trades and sam', 'free'])
def test_both_processes_keep_the_same_weights(two, kind, method):
    first, second = (result[kind, method]['found'] for result in two)
    start = dict(KINDS[kind][0]().named_parameters())
    assert all(torch.equal(first[key], second[key]) for key in start)
    assert any(not torch.equal(first[key], value.double()) for key, value in start.items())


@pytest.mark.slow
@pytest.mark.parametrize('kind', list(KINDS))
def test_in_free_training_each_process_moves_its_own_images(two, kind):
    first, second = (result[kind, 'free']['delta'] for result in two)
    assert first.shape == second.shape == (2, 3, 32, 32)
    assert not torch.equal(first, second)
    assert all(float(delta.abs().max()) == pytest.approx(EPS) for delta in (first, second))
