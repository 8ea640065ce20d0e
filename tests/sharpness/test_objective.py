"""The training loss of real models as a function of the weights, measured without a trace."""

import copy

import pytest
import torch
from helpers import RandomState, SegmentationImages, loader
from small_models import PlainNet, plain_batches
from torch import nn
from torch.nn import functional as F

from samat_mm.perturbations.weights import ASAM, SAM
from samat_mm.sharpness import (
    Measurement,
    draw_batches,
    loss_landscape,
    loss_rises,
    loss_surface,
    prepare,
    top_eigenvalue,
    trace,
)
from samat_mm.sharpness.objective import sample_count

each_kind = pytest.mark.parametrize('kind', ['plain', 'segmentor', 'classifier'])


def evaluation_of_leaves(model):
    """A copy of the model as its loss is measured."""
    model = copy.deepcopy(model)
    for module in model.modules():
        module.training = any(True for _ in module.children())
    return model


def loss_of(model, data):
    return model.parse_losses(model(**data, mode='loss'))[0]


@each_kind
def test_it_is_the_mean_of_the_losses_weighted_by_the_number_of_samples(kind, training_case):
    model, batches = training_case(kind, 2)
    batches[1] = {key: value[:2] for key, value in batches[1].items()}
    prepared = prepare(model, batches)
    sizes = [len(batch['inputs']) for batch in prepared]
    reference = evaluation_of_leaves(model)
    losses = [loss_of(reference, batch) for batch in prepared]
    expected = sum(size * loss for size, loss in zip(sizes, losses, strict=True)) / sum(sizes)
    gradient = torch.autograd.grad(expected, list(reference.parameters()), allow_unused=True)
    with loss_surface(model, prepared) as surface:
        value, found = surface.value_and_gradient()
    assert value == pytest.approx(float(expected.detach()), rel=1e-12)
    for one, other in zip(found, gradient, strict=True):
        torch.testing.assert_close(one, torch.zeros_like(one) if other is None else other)


@each_kind
def test_the_hessian_vector_product_is_the_slope_of_the_gradient(kind, training_case):
    model, batches = training_case(kind, 1)
    for module in list(model.modules()):  # a difference of gradients needs a function without kinks
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, name, nn.SiLU())
    numbers = torch.Generator().manual_seed(0)
    with loss_surface(model, prepare(model, batches)) as surface:
        vector = [torch.randn(weight.shape, generator=numbers).to(weight) for weight in surface.weights.values()]
        product = surface.hessian_vector_product(vector)
        step = 1e-6
        ends = []
        for sign in (1, -1):
            with surface.displaced([sign * step * part for part in vector]):
                ends.append(surface.value_and_gradient()[1])
    slope = torch.cat([((a - b) / (2 * step)).reshape(-1) for a, b in zip(*ends, strict=True)])
    product = torch.cat([part.reshape(-1) for part in product])
    assert float((slope - product).norm()) < 1e-5 * float(product.norm())


@each_kind
def test_nothing_is_left_behind(kind, training_case):
    """Weights, buffers, modes, requires_grad, .grad and every random state, with some of each kind at the start."""
    model, batches = training_case(kind, 2)
    parameters = list(model.parameters())
    parameters[0].requires_grad_(False)
    parameters[1].grad = torch.full_like(parameters[1], 3.0)
    next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d)).eval()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    random = RandomState()
    prepared = prepare(model, batches)
    with loss_surface(model, prepared) as surface:
        assert len(surface.weights) == len(parameters) - 1
        loss_rises(surface, SAM(), 2)
        loss_rises(surface, ASAM(), 1)
        top_eigenvalue(surface, max_iterations=2)
        trace(surface, 2)
        loss_landscape(surface, 1, points=3)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert modes == [module.training for module in model.modules()]
    assert [parameter.requires_grad for parameter in parameters] == [False] + [True] * (len(parameters) - 1)
    assert torch.equal(parameters[1].grad, torch.full_like(parameters[1], 3.0))
    assert all(parameter.grad is None for index, parameter in enumerate(parameters) if index != 1)
    assert RandomState() == random


def test_preprocessing_that_draws_is_decided_by_the_seed_and_not_noticed():
    """As mixup does."""

    class Mixing(nn.Module):
        def forward(self, batch, training):
            assert training
            return {**batch, 'inputs': batch['inputs'] + torch.rand(())}

    model, batches, random = PlainNet(), plain_batches(1), RandomState()
    model.data_preprocessor = Mixing()
    first, again, other = (prepare(model, batches, seed)[0]['inputs'] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert RandomState() == random


def test_modes_and_buffers_come_back_after_an_error(training_case):
    model, batches = training_case('plain', 1)
    modes = [module.training for module in model.modules()]
    with pytest.raises(KeyError), loss_surface(model, prepare(model, batches)):
        assert not model.norm.training
        assert model.training
        raise KeyError
    assert modes == [module.training for module in model.modules()]


class FunctionalDropout(PlainNet):
    """Dropout as attention has it: random whenever the module around it is in training mode."""

    def forward(self, inputs, labels=None, mode='tensor'):
        return super().forward(F.dropout(inputs, 0.5, self.training), labels, mode)


@pytest.mark.parametrize('model', [PlainNet(dropout=0.5), FunctionalDropout()], ids=['module', 'functional'])
def test_the_loss_is_deterministic_with_dropout(model):
    model.double().train()
    with loss_surface(model, prepare(model, plain_batches(2))) as surface:
        first = surface.value()
        torch.rand(5)
        assert surface.value() == first == surface.value_and_gradient()[0]


def test_the_hooks_of_training_do_not_hear_a_measurement(training_case):
    model, batches = training_case('plain', 1)
    heard = []
    model.register_forward_pre_hook(lambda *_: heard.append(1))
    with loss_surface(model, prepare(model, batches)) as surface:
        surface.value_and_gradient()
    assert not heard


@each_kind
def test_a_measurement_has_its_names_and_repeats_to_the_bit(kind, training_case):
    model, batches = training_case(kind, 1)
    prepared = prepare(model, batches)
    for measurement in (Measurement(steps=2, probes=2), Measurement(steps=1, probes=0)):
        passes = []
        with loss_surface(model, prepared, on_pass=lambda passes=passes: passes.append(1)) as surface:
            first = measurement.measure(surface)
        assert len(passes) <= measurement.most_passes()
        with loss_surface(model, prepared) as surface:
            assert measurement.measure(surface) == first
        assert tuple(first) == measurement.names
    assert set(Measurement().names) == {
        *('loss', 'sam', 'sam-5-step', 'asam', 'asam-5-step'),
        *('top_eigenvalue', 'top_eigenvalue_error', 'trace', 'trace_standard_error'),
    }
    assert Measurement(steps=1, probes=0).names == ('loss', 'sam', 'asam')


def test_a_loss_that_is_not_finite_is_refused(training_case):
    model, batches = training_case('plain', 1)
    with torch.no_grad():
        model.head.bias.fill_(float('nan'))
    with loss_surface(model, prepare(model, batches)) as surface, pytest.raises(FloatingPointError, match='not finite'):
        Measurement().measure(surface)


@pytest.mark.parametrize(
    ('setting', 'sentence'),
    [
        (dict(rho=-1), 'rho must be a finite number of at least 0; got -1'),
        (dict(asam_rho=float('nan')), 'got nan'),
        (dict(steps=0), 'steps must be at least 1; got 0'),
        (dict(probes=1), 'probes must be 0, for no Hessian, or at least 2; got 1'),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(setting, sentence):
    with pytest.raises(ValueError, match=sentence):
        Measurement(**setting)


def test_models_that_cannot_be_measured_are_refused(training_case):
    model, batches = training_case('plain', 1)
    prepared = prepare(model, batches)
    model.conv.with_cp = True
    with pytest.raises(ValueError, match='conv has with_cp=True'), loss_surface(model, prepared):
        pass
    model.conv.with_cp = False
    model.requires_grad_(False)
    with pytest.raises(ValueError, match='got 0 weights'), loss_surface(model, prepared):
        pass
    with pytest.raises(TypeError, match='got list'):
        prepare(model, [[torch.zeros(1)]])


# --------------------------------------------------------------------------------------------------- batches


class Augmented(SegmentationImages):
    """Adds noise from the global generators, and counts the draws."""

    drawn = 0

    def __getitem__(self, index):
        self.drawn += 1
        sample = super().__getitem__(index)
        sample['inputs'] = torch.rand(3, 32, 32)
        return sample


def test_batches_are_drawn_by_the_seed_alone_and_nobody_notices():
    dataloader, random = loader(Augmented(5), 2), RandomState()
    first, again, other = (draw_batches(dataloader, 2, seed) for seed in (0, 0, 1))
    assert RandomState() == random
    assert dataloader.dataset.drawn == 0
    names = [[sample.img_path for batch in batches for sample in batch['data_samples']] for batches in (first, other)]
    assert [len(set(entry)) for entry in names] == [4, 4]
    for one, same, different in zip(first, again, other, strict=True):
        assert torch.equal(torch.stack(one['inputs']), torch.stack(same['inputs']))
        assert not torch.equal(torch.stack(one['inputs']), torch.stack(different['inputs']))


def test_a_small_data_set_is_drawn_once():
    assert [len(batch['inputs']) for batch in draw_batches(loader(SegmentationImages(5), 2), 9, 0)] == [2, 2, 1]


def test_batches_need_a_number_and_a_loader():
    with pytest.raises(ValueError, match='at least 1; got 0'):
        draw_batches(loader(SegmentationImages(5), 2), 0, 0)
    with pytest.raises(ValueError, match='needs a train_dataloader'):
        draw_batches(None, 1, 0)


class MomentumEncoder(PlainNet):
    """Moves a frozen copy of its head in every loss forward, through .data as MMEngine's averaged models do."""

    def __init__(self):
        super().__init__()
        self.slow = torch.nn.Linear(4, 3).requires_grad_(False)

    def forward(self, inputs, labels=None, mode='tensor'):
        self.slow.weight.data.lerp_(self.head.weight.data, 0.1)
        return super().forward(inputs, labels, mode)


def test_a_momentum_encoder_is_refused_and_left_as_it_was():
    model = MomentumEncoder()
    before = model.slow.weight.clone()
    batches = plain_batches(1, dtype=torch.float32)
    with pytest.raises(RuntimeError, match=r'changes slow\.weight'), loss_surface(model, batches) as surface:
        surface.value()
    assert torch.equal(model.slow.weight, before)


def test_the_samples_of_two_views_are_counted_once():
    views = [torch.zeros(8, 3, 4, 4), torch.zeros(8, 3, 4, 4)]
    assert sample_count([{'inputs': views, 'data_samples': [None] * 8}]) == 8
