"""Training steps that MMEngine compiles (``compile=`` of its Runner) end where those end that it does not."""

import copy

import pytest
import torch
from helpers import ClassificationImages, classifier, runner, state_of
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import HOOKS
from small_models import SampledNet, plain_batches

SGD = dict(type='SGD', lr=0.05, momentum=0.9)
SAM = dict(type='SAMOptimWrapper', rho=0.2)
# Methods differ in what runs beside the model, which is not compiled; these differ in their hooks on its forward.
STEPS = {
    'SAM': SAM,
    'SAM from the third step on': dict(SAM, start_iter=2),  # the first compiles a forward that nothing is recorded of
    'ESAM': dict(type='ESAMOptimWrapper', rho=0.2),
    'ESAM from the third step on': dict(type='ESAMOptimWrapper', rho=0.2, start_iter=2),
    'FisherSAM on half': dict(type='SAMOptimWrapper', perturbation=dict(type='FisherSAM', rho=0.2), ascent_share=0.5),
    'GSAM in mixed precision': dict(type='AmpSAMOptimWrapper', perturbation=dict(type='GSAM'), dtype='bfloat16'),
}
PGD = dict(type='PGD', norm='linf', eps='8/255', step_size='4/255', steps=2)
INPUTS = {
    'PGD-AT': (dict(type='AdversarialTrainingHook', attack=PGD), SAM),
    'TRADES': (dict(type='TRADESHook', attack=dict(PGD, random_start=False)), SAM),
}


@pytest.fixture(autouse=True)
def nothing_compiled():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def weights_after(steps, backend, wrapper):
    """Batches of two sizes, as the last of an epoch is smaller."""
    torch.manual_seed(0)
    model = SampledNet().double().train()
    wrapper = build_optim_wrapper(model, dict(copy.deepcopy(wrapper), optimizer=SGD))
    if backend:
        model.train_step = torch.compile(model.train_step, backend=backend)  # as Runner._maybe_compile does
    for size in (6, 6, 6, 4)[:steps]:
        model.train_step(plain_batches(1, size)[0], wrapper)
    return state_of(model)


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('name', STEPS)
def test_weight_perturbations(name):
    expected = weights_after(4, None, STEPS[name])
    for backend in ('eager', 'aot_eager') if name == 'SAM' else ('eager',):
        before = torch._dynamo.utils.counters['stats']['unique_graphs']
        assert_close(weights_after(4, backend, STEPS[name]), expected)
        assert torch._dynamo.utils.counters['stats']['unique_graphs'] > before  # something was compiled


def small_classifier():
    return classifier(backbone=dict(_delete_=True, type='CIFARResNet', depth=8), head=dict(in_channels=64)).double()


@pytest.mark.parametrize('name', [*INPUTS, 'free'])
def test_input_perturbations_in_a_run(name, tmp_path):
    found = []
    for backend in (None, 'aot_eager' if name == 'PGD-AT' else 'eager'):
        hook, wrapper = copy.deepcopy(INPUTS.get(name, (None, dict(type='OptimWrapper'))))
        loop = dict(type='FreeIterBasedTrainLoop' if name == 'free' else 'IterBasedTrainLoop', max_iters=3)
        run = runner(
            small_classifier(),
            tmp_path / str(backend),
            train=ClassificationImages(6),
            optim_wrapper=dict(wrapper, optimizer=SGD),
            train_cfg=loop,
            hooks=[HOOKS.build(hook)] if hook else [],
            cfg=Config(dict(compile=dict(backend=backend)) if backend else {}),
        )
        run.train()
        found.append(state_of(run.model))
    assert_close(*found)
    assert not torch.equal(found[0]['head.fc.weight'], small_classifier().state_dict()['head.fc.weight'])


def test_the_random_numbers_of_a_compiled_forward_are_not_promised_again():
    with pytest.raises(TypeError, match='a compiled forward may draw them differently'):
        weights_after(1, 'eager', dict(SAM, same_dropout=True))
