"""The copy on which attacks run computes what the model computes, in each precision as far as that goes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from helpers import ClassificationImages, SegmentationImages, classifier, pseudo_collate, segmentor
from torch import Tensor, nn

from samat_mm.crafting.crafting import Crafting
from samat_mm.crafting.fast_copy import FastCopy
from samat_mm.perturbations.inputs import PGD
from samat_mm.pixels.pixel_space import PixelSpace

# Of the largest output, and of the length of the gradient with respect to the images: how far the copy may be off.
# Half a unit in the last place is 6e-8 in float32, 5e-4 in TF32 and 4e-3 in bfloat16, and there are twenty layers. An
# activation next to zero may pass or not, and a single one in a late layer is a hundredth of the gradient: rounded to
# TF32 on a CPU, these models' gradients are off by up to 0.12.
BOUNDS = {'float32': (1e-4, 0.05), 'TF32': (5e-3, 0.3), 'bfloat16': (3e-2, 0.4)}
MODELS = {'classifier': (classifier, ClassificationImages), 'segmentor': (segmentor, SegmentationImages)}


@contextmanager
def precision(name: str, device: torch.device) -> Iterator[None]:
    """Compute in this precision inside the block; on a CPU, TF32 is float32."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    cudnn.allow_tf32 = matmul.allow_tf32 = name == 'TF32'  # the fixture of all tests takes it back
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=name == 'bfloat16'):
        yield
    cudnn.allow_tf32 = matmul.allow_tf32 = False


@pytest.mark.parametrize('kind', MODELS)
@pytest.mark.parametrize('name', BOUNDS)
def test_the_copy_computes_what_the_model_computes(name: str, kind: str, device: torch.device) -> None:
    """The model in float32; the copy folded and in the faster layout, before and after the weights have changed."""
    model = MODELS[kind][0]().to(device)
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1)).to(device)

    def output(model: nn.Module, memory_format: torch.memory_format, images: Tensor = images) -> Tensor:
        return model(images.contiguous(memory_format=memory_format), mode='tensor')

    def gradient(model: nn.Module, memory_format: torch.memory_format) -> Tensor:
        changed = images.clone().requires_grad_()
        logits = output(model, memory_format, changed)
        (grad,) = torch.autograd.grad(logits.float().square().sum(), changed)
        return grad

    with precision('float32' if name == 'bfloat16' else name, device):  # without autocast, as crafting makes it
        copied = FastCopy(model, output, torch.bfloat16 if name == 'bfloat16' else torch.float32)
    assert copied.fused > 0
    without_tensor_cores = name == 'float32' and device.type == 'cuda'
    assert copied.memory_format == (torch.contiguous_format if without_tensor_cores else torch.channels_last)
    for _ in range(2):
        expected = output(model, torch.contiguous_format).detach(), gradient(model, torch.contiguous_format)
        with precision(name, device):
            copied.sync()
            found = output(copied.model, copied.memory_format).detach().float()
            slope = gradient(copied.model, copied.memory_format)
        values, slopes = BOUNDS[name]
        assert float((found - expected[0]).abs().max()) <= values * float(expected[0].abs().max())
        assert float((slope - expected[1]).norm()) <= slopes * float(expected[1].norm())
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1.05)


@pytest.mark.parametrize('kind', MODELS)
@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_images_of_the_copy_are_as_strong_as_those_of_the_model(dtype: str, kind: str, device: torch.device) -> None:
    """By the loss of the model itself; in bfloat16 at least nine tenths of the rise."""
    make, images = MODELS[kind]
    model, data = make().to(device), images(4)
    batch = model.data_preprocessor(pseudo_collate(list(data)), False)
    space = PixelSpace(model, [entry['inputs'] for entry in data], batch['inputs'], batch['data_samples'])
    attack = PGD(steps=10)

    def loss(pixels: Tensor) -> float:
        target: Any = space.task.target(space.samples, device)
        with torch.no_grad():
            logits = space.task.logits(model, space.to_inputs(pixels), space.samples)
            return float(torch.nn.functional.cross_entropy(logits, target, ignore_index=255))

    clean, own = loss(space.pixels), loss(space.attack(attack, range(4)))
    crafted = Crafting(model, dtype).attack(space, attack, range(4))
    assert own > clean
    assert float((crafted - space.pixels).abs().max()) <= attack.eps * (1 + 1e-5)
    assert loss(crafted) - clean >= (0.99 if dtype == 'float32' else 0.9) * (own - clean)
