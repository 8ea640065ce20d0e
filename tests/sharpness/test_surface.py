"""Value, gradient and Hessian-vector product of a loss as a function of the weights."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from samat_mm.sharpness import LossSurface


class SmallNet(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)
        self.unused = nn.Parameter(torch.ones(2))
        self.double()

    def forward(self, inputs):
        return self.second(torch.tanh(self.first(inputs)))


def data(count, seed):
    numbers = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 3, generator=numbers, dtype=torch.float64)
    return inputs, torch.randint(2, (count,), generator=numbers)


@pytest.fixture
def case():
    """A network, its surface over batches of 5 and 3 samples, and the loss of all 8 as a function of a flat vector."""
    net = SmallNet()
    batches = [data(5, 1), data(3, 2)]
    terms = [(len(x) / 8, lambda x=x, y=y: F.cross_entropy(net(x), y)) for x, y in batches]
    weights = dict(net.named_parameters())
    inputs, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))

    def loss(vector):
        parts = vector.split([weight.numel() for weight in weights.values()])
        named = {name: part.view_as(weights[name]) for name, part in zip(weights, parts, strict=True)}
        return F.cross_entropy(torch.func.functional_call(net, named, (inputs,)), labels)

    return net, LossSurface(weights, terms), loss


def flat(tensors):
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def test_value_gradient_and_product_are_those_of_the_whole_data(case):
    net, surface, loss = case
    point = flat(net.parameters())
    value, gradient = surface.value_and_gradient()
    assert value == surface.value() == pytest.approx(float(loss(point)), rel=1e-12)
    torch.testing.assert_close(flat(gradient), torch.autograd.functional.jacobian(loss, point))
    vector = [torch.randn_like(weight) for weight in net.parameters()]
    _, expected = torch.autograd.functional.hvp(loss, point, flat(vector))
    torch.testing.assert_close(flat(surface.hessian_vector_product(vector)), expected)
    assert all(weight.grad is None for weight in net.parameters())


def test_derivatives_are_there_where_gradients_are_switched_off(case):
    """As in MMEngine's validation loop."""
    net, surface, _ = case
    with torch.no_grad():
        _, gradient = surface.value_and_gradient()
        product = surface.hessian_vector_product(list(net.parameters()))
    assert float(flat(gradient).norm()) > 0
    assert float(flat(product).norm()) > 0


def test_a_loss_that_is_linear_in_the_weights_has_no_curvature():
    weight = torch.ones(3, requires_grad=True)
    surface = LossSurface({'w': weight}, [(1.0, weight.sum)])
    assert torch.equal(surface.hessian_vector_product([torch.ones(3)])[0], torch.zeros(3))


def test_the_fused_attention_of_transformers_has_a_hessian():
    numbers = torch.Generator().manual_seed(0)
    query = torch.randn(1, 2, 5, 8, generator=numbers, requires_grad=True)

    def loss():
        return F.scaled_dot_product_attention(query, query, query).square().sum()

    (product,) = LossSurface({'q': query}, [(1.0, loss)]).hessian_vector_product([torch.ones_like(query)])
    assert float(product.norm()) > 0


class OnceDifferentiable(torch.autograd.Function):
    @staticmethod
    def forward(ctx, inputs):
        ctx.save_for_backward(inputs)
        return inputs.square()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return 2 * ctx.saved_tensors[0] * gradient


def test_an_operator_without_a_second_derivative_is_named_in_a_sentence():
    weight = torch.ones(3, requires_grad=True)
    surface = LossSurface({'w': weight}, [(1.0, lambda: OnceDifferentiable.apply(weight).sum())])
    with pytest.raises(ValueError, match=r'lacks \(OnceDifferentiable is once_diff.*Hessian with probes=0'):
        surface.hessian_vector_product([torch.ones(3)])


def test_weights_come_back_to_the_bit_after_an_error(case):
    net, surface, _ = case
    before = [weight.detach().clone() for weight in net.parameters()]
    with pytest.raises(KeyError), surface.displaced([torch.full_like(weight, 1 / 3) for weight in before]):
        raise KeyError
    assert all(torch.equal(one, other) for one, other in zip(before, net.parameters(), strict=True))


def test_a_surface_needs_weights_and_batches():
    with pytest.raises(ValueError, match='got 0 weights and 1 batches'):
        LossSurface({}, [(1.0, lambda: torch.zeros(()))])
    with pytest.raises(ValueError, match='got 1 weights and 0 batches'):
        LossSurface({'w': torch.ones(1, requires_grad=True)}, [])
