"""Convolutions with weights in the order of the kernels have the same outputs, and follow their weights."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from samat_mm.crafting import fast_copy
from samat_mm.crafting.fast_copy import FastCopy
from samat_mm.crafting.packed_convolution import PackedConvolution, packable

LAST, PLAIN_FORWARD = torch.channels_last, PackedConvolution.forward
pytestmark = pytest.mark.skipif(
    not torch.backends.cpu.get_cpu_capability().startswith('AVX'), reason='packing is for x86 processors'
)


def convolution(inputs=8, outputs=6, size=3, dtype=torch.float32, **settings):
    torch.manual_seed(0)
    made = nn.Conv2d(inputs, outputs, size, **settings).requires_grad_(False)
    return made.to(dtype).to(memory_format=LAST)


def images(*shape, dtype=torch.float32, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def output_and_gradient(forward, features):
    features = features.clone().requires_grad_()
    output = forward(features)
    weights = images(*output.shape, seed=1).to(output)
    return output.detach(), *torch.autograd.grad(output, features, weights)


def assert_same(packed, module, features, **bounds):
    for found, expected in zip(
        output_and_gradient(packed, features), output_and_gradient(module, features), strict=True
    ):
        assert found.dtype == expected.dtype
        torch.testing.assert_close(found, expected, **bounds)


CASES = {
    'one pixel': dict(size=1),
    'padded': dict(padding=1),
    'without bias': dict(padding=1, bias=False),
    'dilated beyond the image': dict(padding=12, dilation=12),
    'of unequal sides': dict(size=(1, 5), padding=(0, 2), dilation=(1, 2)),
    'padded beyond the kernel': dict(padding=3),
}


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize('name', CASES)
def test_output_and_gradient_at_every_use(name, dtype):
    module = convolution(dtype=dtype, **CASES[name])
    packed = PackedConvolution(module)
    if dtype == torch.float32:
        assert packable(module)
    elif not packable(module):
        pytest.skip('this processor has no such kernels in bfloat16')
    for batch, side in ((2, 9), (2, 9), (5, 9), (1, 12), (2, 9)):  # packed at the second; others fit as well
        features = images(batch, 8, side, side, dtype=dtype)
        bounds = dict(rtol=1e-5, atol=1e-5) if dtype == torch.float32 else dict(rtol=2e-2, atol=2e-2)
        assert_same(packed, module, features, **bounds)
        assert_same(packed, module, features.contiguous(memory_format=LAST), **bounds)


def test_it_follows_its_weights():
    module = convolution(padding=1)
    packed, features = PackedConvolution(module), images(2, 8, 7, 7)
    for factor in (1, 2, 3):
        module.weight.mul_(factor)
        module.bias.add_(factor)
        for _ in range(3):
            assert_same(packed, module, features, rtol=1e-5, atol=1e-5)


def test_weights_are_reordered_at_the_second_use(monkeypatch):
    packed, features = PackedConvolution(convolution()), images(2, 8, 7, 7)
    seen = []
    monkeypatch.setattr(
        packed, 'forward', lambda given: seen.append('forward') or PackedConvolution.forward(packed, given)
    )
    monkeypatch.setattr(
        packed, 'backward', lambda given: seen.append('backward') or PackedConvolution.backward(packed, given)
    )
    for expected in ([], ['forward', 'backward'], ['forward', 'backward'] * 2):
        output_and_gradient(packed, features)
        assert seen == expected


def test_autocast_casts_as_it_does_elsewhere():
    for dtype in (torch.float32, torch.bfloat16):
        module = convolution(dtype=dtype, padding=1)
        packed, features = PackedConvolution(module), images(2, 8, 7, 7)
        with torch.autocast('cpu', dtype=torch.bfloat16):
            for _ in range(2):
                assert_same(packed, module, features, rtol=2e-2, atol=2e-2)
    with pytest.raises(RuntimeError, match=r'same|expected'):  # as the convolution itself says
        packed(features)


class Standardised(nn.Conv2d):
    def forward(self, features):
        return F.conv2d(features, self.weight - self.weight.mean(), self.bias)


def heard():
    module = convolution()
    module.register_forward_hook(lambda *_: None)
    return module


LEFT = {
    'strided': lambda: convolution(stride=2),
    'grouped': lambda: convolution(groups=2),
    'reflecting': lambda: convolution(padding=1, padding_mode='reflect'),
    'padded by name': lambda: convolution(padding='same'),
    'double': lambda: convolution(dtype=torch.float64),
    'of its own kind': lambda: Standardised(8, 6, 1),
    'parametrised': lambda: nn.utils.parametrizations.weight_norm(convolution()),
    'heard': heard,
    'no convolution': lambda: nn.Linear(8, 6),
}


@pytest.mark.parametrize('name', LEFT)
def test_what_is_left_as_it_is(name):
    assert not packable(LEFT[name]())


def test_a_wrong_kernel_is_not_used(monkeypatch):
    monkeypatch.setattr(PackedConvolution, 'backward', lambda self, gradient: torch.zeros(2, 8, 5, 5))
    assert not packable(convolution())


def test_a_copy_of_a_model_is_packed_but_for_its_image(monkeypatch):
    model = nn.Sequential(convolution(3, 8), nn.ReLU(), convolution(), nn.ReLU(), convolution(6, 4, 1)).eval()
    given = images(2, 3, 9, 9)
    probe = lambda model, layout: model(given.contiguous(memory_format=layout))  # noqa: E731
    for dtype, packed in ((torch.float32, [0, 2, 4]), (torch.bfloat16, [2, 4])):
        copied = FastCopy(model, probe, dtype).model
        assert [
            int(name)
            for name, module in copied.named_children()
            if 'forward' in vars(module) and isinstance(vars(module)['forward'], PackedConvolution)
        ] == packed
    assert not any('forward' in vars(module) for module in model.modules())
    monkeypatch.setattr(fast_copy, 'packable', lambda module: isinstance(module, nn.Conv2d))
    monkeypatch.setattr(PackedConvolution, 'forward', lambda self, features: 1.1 * PLAIN_FORWARD(self, features))
    copied = FastCopy(model, probe, torch.float32).model  # what fails only now is taken back
    assert not any('forward' in vars(module) for module in copied.modules())
