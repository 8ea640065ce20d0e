"""The mathematics of the weight perturbations, and the way to displace weights and bring them back."""

import math
from collections.abc import Callable
from itertools import accumulate

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.profiler import profile

from samat_mm.perturbations import vectors
from samat_mm.perturbations.weights import ASAM, AWP, SAM, Displacement, FisherSAM, Need, WeightPerturbation
from samat_mm.registry import WEIGHT_PERTURBATIONS

Weights = dict[str, Tensor]
Shape = Callable[[str, Tensor, Tensor], Tensor]


def ones(name: str, weight: Tensor, gradient: Tensor) -> Tensor:
    """T of SAM."""
    return torch.ones_like(weight)


def asam_shape(eta: float, everywhere: bool) -> Shape:
    """T of ASAM: |w| + eta for tensors called weight (or all), 1 for the others."""

    def scale(name: str, weight: Tensor, gradient: Tensor) -> Tensor:
        return weight.abs() + eta if everywhere or name.split('.')[-1] == 'weight' else torch.ones_like(weight)

    return scale


def fisher_shape(eta: float) -> Shape:
    """T of Fisher SAM: the ball is e'Fe <= 1 with F = 1 + eta g^2."""

    def scale(name: str, weight: Tensor, gradient: Tensor) -> Tensor:
        return (1 + eta * gradient.double() ** 2).rsqrt().to(gradient.dtype)

    return scale


# These methods maximise the linearised loss over an ellipsoid {e : ||e / T|| <= 1}. This is its T, from the papers.
# Those with a mask are here with a full one, those with a memory in their first step.
METHODS: dict[str, tuple[dict, Shape]] = {
    'sam': (dict(type='SAM'), ones),
    'asam': (dict(type='ASAM'), asam_shape(0.01, everywhere=False)),
    'asam of the popular port': (dict(type='ASAM', eta=0, scaled='all'), asam_shape(0, everywhere=True)),
    'asam with a large eta': (dict(type='ASAM', eta=0.7, scaled='all'), asam_shape(0.7, everywhere=True)),
    'esam': (dict(type='ESAM', beta=1), ones),
    'looksam': (dict(type='LookSAM'), ones),
    'looksam over asam': (dict(type='LookSAM', direction=dict(type='ASAM')), asam_shape(0.01, everywhere=False)),
    'ssam-f': (dict(type='SSAMF'), ones),
    'ssam-d': (dict(type='SSAMD', sparsity=0), ones),
    'fisher sam': (dict(type='FisherSAM'), fisher_shape(1)),
    'fisher sam with a large eta': (dict(type='FisherSAM', eta=30), fisher_shape(30)),
    'sam-on': (dict(type='SAMON'), asam_shape(0.01, everywhere=False)),
    'gsam': (dict(type='GSAM'), ones),
    'friendly sam': (dict(type='FriendlySAM'), ones),
    'friendly sam over asam': (
        dict(type='FriendlySAM', direction=dict(type='ASAM')),
        asam_shape(0.01, everywhere=False),
    ),
    'wsam': (dict(type='WSAM'), ones),
    'msam': (dict(type='MSAM'), ones),  # of what its momentum gives it
    'stale sam': (dict(type='StaleSAM'), ones),
}
# Maximises over a ball for each tensor, see test_weight_methods_properties.
LAYERWISE = {'AWP'}
all_methods = pytest.mark.parametrize('method', METHODS)


def built(method: str) -> WeightPerturbation:
    return WEIGHT_PERTURBATIONS.build(METHODS[method][0])


def shape(method: str, weights: Weights, gradients: list[Tensor]) -> list[Tensor]:
    pairs = zip(weights.items(), gradients, strict=True)
    return [METHODS[method][1](name, weight, gradient) for (name, weight), gradient in pairs]


def flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def problem(seed: int, dtype: torch.dtype = torch.float64) -> tuple[Weights, list[Tensor]]:
    """Return weights of several shapes and a gradient for each."""
    numbers = torch.Generator().manual_seed(seed)
    shapes = {'conv.weight': (3, 2, 2, 2), 'conv.bias': (3,), 'norm.weight': (3,), 'scale': (), 'head.weight': (2, 3)}
    draws = [torch.randn(shape, generator=numbers, dtype=torch.float64).to(dtype) for shape in shapes.values()]
    gradients = [torch.randn(shape, generator=numbers, dtype=torch.float64).to(dtype) for shape in shapes.values()]
    return dict(zip(shapes, draws, strict=True)), gradients


def test_every_registered_method_is_covered_here() -> None:
    assert {config['type'] for config, _ in METHODS.values()} | LAYERWISE == set(WEIGHT_PERTURBATIONS.module_dict)


@all_methods
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), direction_seed=st.integers(0, 10**6), magnitude=st.floats(-6, 6))
def test_no_other_point_of_the_ball_promises_more(
    method: str, seed: int, direction_seed: int, magnitude: float
) -> None:
    """The offset lies on the ellipsoid ||e / T|| = 1, and no random point of it has a larger <g, e>."""
    weights, gradients = problem(seed)
    gradients = [gradient * 10**magnitude for gradient in gradients]
    scale = flat(shape(method, weights, gradients))
    offset = flat(built(method).ascend(weights, [gradient.clone() for gradient in gradients]))
    gradient = flat(gradients)

    assert math.isclose(float((offset / scale).norm()), 1, rel_tol=1e-12)
    random = torch.randn(len(scale), generator=torch.Generator().manual_seed(direction_seed), dtype=torch.float64)
    other = scale * random / random.norm()
    assert float(gradient @ offset) >= float(gradient @ other)
    # ... and its value is the closed form of the maximum, the dual norm ||T g||
    assert math.isclose(float(gradient @ offset), float((scale * gradient).norm()), rel_tol=1e-12)


@all_methods
def test_ascend_is_the_equation_of_the_paper(method: str) -> None:
    """e = T^2 g / ||T g|| over all tensors together; T = 1 is SAM."""
    weights, gradients = problem(seed=3)
    scales = shape(method, weights, gradients)
    norm = math.sqrt(sum(float(((scale * g) ** 2).sum()) for scale, g in zip(scales, gradients, strict=True)))
    expected = [scale**2 * gradient / norm for scale, gradient in zip(scales, gradients, strict=True)]
    found = built(method).ascend(weights, [gradient.clone() for gradient in gradients])
    assert len(found) == len(expected)
    for offset, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(offset, wanted, rtol=1e-13, atol=0)


def test_on_a_quadratic_sam_reaches_the_known_maximum() -> None:
    """On L(w) = ||w||^2 / 2 the ball's maximum is at w + rho w / ||w||, exactly where the linearisation says."""
    weight = torch.tensor([3.0, 4.0], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(weight.square().sum() / 2, weight)
    (offset,) = SAM().ascend({'weight': weight}, [gradient])
    assert offset.tolist() == pytest.approx([0.6, 0.8], abs=1e-15)


@pytest.mark.parametrize('method', [method for method in METHODS if Need.UNSCALED_GRADIENT not in built(method).needs])
def test_direction_does_not_depend_on_the_scale_of_the_loss(method: str) -> None:
    """A loss scale need not be taken out: a power of two changes no bit."""
    weights, gradients = problem(seed=5, dtype=torch.float32)
    plain = built(method).ascend(weights, [gradient.clone() for gradient in gradients])
    scaled = built(method).ascend(weights, [gradient * 2.0**16 for gradient in gradients])
    for one, other in zip(plain, scaled, strict=True):
        assert torch.equal(one, other)


@all_methods
def test_weights_are_only_read(method: str) -> None:
    weights, gradients = problem(seed=7)
    before = {name: weight.clone() for name, weight in weights.items()}
    built(method).ascend(weights, gradients)
    assert all(torch.equal(weights[name], before[name]) for name in weights)


@all_methods
def test_zero_gradient_gives_zero_offsets(method: str) -> None:
    weights, gradients = problem(seed=0, dtype=torch.float32)
    for offset in built(method).ascend(weights, [torch.zeros_like(gradient) for gradient in gradients]):
        assert torch.equal(offset, torch.zeros_like(offset))


@all_methods
@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
def test_non_finite_gradient_gives_non_finite_offsets(method: str, value: float) -> None:
    """Never a finite, wrong direction: the loop that drives the method must be able to see it."""
    weights, gradients = problem(seed=0)
    gradients[0].view(-1)[2] = value
    assert not bool(torch.isfinite(flat(built(method).ascend(weights, gradients))).all())


@all_methods
@pytest.mark.parametrize('exponent', [-44, -38, -30, -25, -20, 20, 25, 37])
def test_offsets_never_leave_the_ball_in_single_precision(method: str, exponent: int) -> None:
    """A fitted model has gradients around exp(-60): their squares are 0 in float32, and must not divide by 0."""
    weights, gradients = problem(seed=9, dtype=torch.float32)
    gradients = [gradient * 10.0**exponent for gradient in gradients]
    scale = flat(shape(method, weights, [gradient.double() for gradient in gradients])).double()
    offset = flat(built(method).ascend(weights, gradients)).double()
    assert float((offset / scale).norm()) <= 1.0001


@pytest.mark.parametrize('method', [method for method in METHODS if METHODS[method][1] is ones])
@pytest.mark.parametrize('exponent', [-30, -25, 25, 37])
def test_tiny_and_huge_gradients_still_have_a_direction(method: str, exponent: int) -> None:
    weights, gradients = problem(seed=9, dtype=torch.float32)
    offset = flat(built(method).ascend(weights, [gradient * 10.0**exponent for gradient in gradients])).double()
    assert float(offset.norm()) == pytest.approx(1, abs=1e-4)


@all_methods
def test_half_precision_weights_have_finite_offsets(method: str) -> None:
    weights, gradients = problem(seed=2, dtype=torch.bfloat16)
    offset = flat(built(method).ascend(weights, gradients))
    assert offset.dtype == torch.bfloat16
    assert bool(torch.isfinite(offset).all())


def test_asam_takes_no_more_scratch_memory_than_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, 'BLOCK', 1 << 12)
    weights = {f'{index}.weight': torch.randn(64, 64) for index in range(4)}
    grads = [torch.randn(64, 64) for _ in weights]
    with profile(profile_memory=True) as profiler:
        ASAM().ascend(weights, grads)
    events = profiler.profiler.kineto_results.events()
    changes = accumulate(event.nbytes() for event in events if event.name() == '[memory]')
    assert 4 << 12 <= max(changes) <= (4 << 12) + 1024


def test_with_eta_zero_a_zero_weight_never_moves() -> None:
    """The popular port: biases start at zero, so they never take part. The published eta moves them."""
    weights, gradients = {'bias': torch.zeros(3)}, [torch.ones(3)]
    still = ASAM(eta=0, scaled='all').ascend(weights, [gradients[0].clone()])
    moving = ASAM(eta=0.01, scaled='all').ascend(weights, [gradients[0].clone()])
    assert torch.equal(still[0], torch.zeros(3))
    assert bool((moving[0] > 0).all())


@pytest.mark.parametrize('scaled', ['weights', 'all'])
def test_asam_is_invariant_to_a_rescaling_that_keeps_the_function(scaled: str) -> None:
    """w1 -> a w1, w2 -> w2 / a leaves relu networks alone; with eta = 0 the perturbed network stays the same too."""
    torch.manual_seed(0)
    first, second = torch.randn(4, 3, dtype=torch.float64), torch.randn(2, 4, dtype=torch.float64)
    inputs = torch.randn(5, 3, dtype=torch.float64)

    def perturbed_output(factor: float) -> Tensor:
        weights = [(first * factor).requires_grad_(), (second / factor).requires_grad_()]
        loss = ((inputs @ weights[0].T).relu() @ weights[1].T).square().mean()
        offsets = ASAM(eta=0, scaled=scaled).ascend(
            dict(zip(('1.weight', '2.weight'), weights, strict=True)), torch.autograd.grad(loss, weights)
        )
        moved = [weight.detach() + 0.3 * offset for weight, offset in zip(weights, offsets, strict=True)]
        return (inputs @ moved[0].T).relu() @ moved[1].T

    torch.testing.assert_close(perturbed_output(1), perturbed_output(8), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('value', [-0.05, math.nan, math.inf, 10**400, '0.05', True])
@pytest.mark.parametrize('name', sorted(WEIGHT_PERTURBATIONS.module_dict))
def test_a_radius_is_a_finite_number_of_at_least_zero(name: str, value: object) -> None:
    with pytest.raises(ValueError, match='rho must be a finite number of at least 0; got'):
        WEIGHT_PERTURBATIONS.build(dict(type=name, rho=value))


@pytest.mark.parametrize('method', [SAM, ASAM, FisherSAM, AWP])
def test_a_method_without_another_direction_has_a_radius_of_its_own(method: type[WeightPerturbation]) -> None:
    with pytest.raises(ValueError, match='rho must be a finite number of at least 0; got None'):
        method(rho=None)


def test_an_unknown_method_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'SHARP' is unknown; the known ones are .*ASAM.*SAM"):
        WEIGHT_PERTURBATIONS.build(dict(type='SHARP'))
    with pytest.raises(ValueError, match=r'SAM does not accept these parameters: .*radius'):
        WEIGHT_PERTURBATIONS.build(dict(type='SAM', radius=1))


# Displacement


def awkward_weights() -> tuple[list[Tensor], list[Tensor]]:
    """Weights for which fl(fl(w + e) - e) differs from w in most entries."""
    torch.manual_seed(0)
    weights = [torch.nn.Parameter(torch.randn(50)), torch.nn.Parameter(torch.randn(2, 3, 4, 5))]
    return weights, [torch.randn_like(weight) for weight in weights]


def test_subtracting_would_not_bring_these_weights_back() -> None:
    """Why Displacement copies: the other tests of it would see a subtraction."""
    weights, offsets = awkward_weights()
    assert not torch.equal((weights[0] + offsets[0]) - offsets[0], weights[0])


def test_displacement_moves_and_brings_back_the_same_bits() -> None:
    weights, offsets = awkward_weights()
    start = [weight.detach().clone() for weight in weights]
    displacement = Displacement()
    for _ in range(2):  # the second time in the buffers of the first
        with displacement(weights, offsets):
            assert all(torch.equal(w, s + o) for w, s, o in zip(weights, start, offsets, strict=True))
        assert all(torch.equal(w, s) for w, s in zip(weights, start, strict=True))


def test_displacement_brings_back_after_an_exception() -> None:
    weights, offsets = awkward_weights()
    start = [weight.detach().clone() for weight in weights]
    with pytest.raises(KeyboardInterrupt), Displacement()(weights, offsets):
        raise KeyboardInterrupt
    assert all(torch.equal(w, s) for w, s in zip(weights, start, strict=True))


def test_displacement_brings_back_what_the_block_overwrote() -> None:
    """A NaN offset, or a block that writes to the weights, leaves nothing behind."""
    weights, offsets = awkward_weights()
    start = [weight.detach().clone() for weight in weights]
    with Displacement()(weights, [offset * math.nan for offset in offsets]):
        assert bool(weights[0].isnan().all())
    assert all(torch.equal(w, s) for w, s in zip(weights, start, strict=True))


def test_displacement_keeps_storage_and_memory_format() -> None:
    weight = torch.nn.Parameter(torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last))
    place, strides, start = weight.data_ptr(), weight.stride(), weight.detach().clone()
    with Displacement()([weight], [torch.randn(4, 3, 5, 5)]):  # an offset of another memory format
        assert (weight.data_ptr(), weight.stride()) == (place, strides)
    assert (weight.data_ptr(), weight.stride()) == (place, strides)
    assert torch.equal(weight, start)


def test_displacement_follows_a_model_to_another_precision() -> None:
    """model.double() keeps its parameters; the buffer of before must not round them."""
    weight = torch.nn.Parameter(torch.randn(100))
    displacement = Displacement()
    with displacement([weight], [torch.ones(100)]):
        pass
    weight.data = torch.randn(100, dtype=torch.float64)
    start = weight.detach().clone()
    with displacement([weight], [torch.ones(100, dtype=torch.float64)]):
        pass
    assert torch.equal(weight, start)


def test_displacement_of_nothing_does_nothing() -> None:
    with Displacement()([], []):
        pass
