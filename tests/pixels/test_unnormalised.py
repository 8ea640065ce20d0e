"""Attacks on stretched images without normalisation, as in the duality paper's released code for segmentation."""

import pytest
import torch
from helpers import CLASSES, MEAN, STD, labels, raw_images, segmentation_sample, segmentor
from torch.nn import functional as F

from samat_mm.crafting.crafting import Crafting
from samat_mm.perturbations.inputs import PGD
from samat_mm.pixels.pixel_space import PixelSpace
from samat_mm.pixels.unnormalised import unnormalised

EPS = {'linf': 4 / 255, 'l2': 0.5}
SIZE = 32


def pale_images(count=3):
    """Images that do not reach from 0 to 255, each with a range of its own."""
    return [(60 + 10 * number + image // 2).byte() for number, image in enumerate(raw_images(count, SIZE, SIZE))]


def space_of(model, raw):
    samples = [
        segmentation_sample(labels(SIZE, SIZE, classes=CLASSES, seed=number), img_path='image.png')
        for number in range(len(raw))
    ]
    data = model.data_preprocessor({'inputs': raw, 'data_samples': samples}, False)
    return PixelSpace(model, raw, data['inputs'], data['data_samples'])


def plain_logits(model, images):
    """Logits of the network itself for inputs (1, 3, h, w), without padding."""
    coarse = model(images, mode='tensor')
    full = F.interpolate(coarse, images.shape[2:], mode='bilinear', align_corners=model.align_corners)
    return full[..., :SIZE, :SIZE]


def plain_attack(model, x, y, norm, eps, steps, padding=0):
    """The adversarial pixels of one image x (3, h, w) with the labels y (h, w), in a plain loop."""
    low, span = x.min(), x.max() - x.min()
    s, delta = (x - low) / span, torch.zeros_like(x)
    best, best_loss = delta, -1.0
    for step in range(steps + 1):
        delta = delta.detach().requires_grad_()
        logits = plain_logits(model, F.pad((s + delta)[None], (0, padding, 0, padding)))
        loss = F.cross_entropy(logits, y[None], ignore_index=255)
        if float(loss) > best_loss:
            best, best_loss = delta.detach(), float(loss)
        if step == steps:
            break
        (grad,) = torch.autograd.grad(loss, delta)
        with torch.no_grad():
            if norm == 'linf':
                delta = (delta + eps / 4 * grad.sign()).clamp(-eps, eps)
            else:
                delta = delta + eps / 4 * grad / grad.norm()
                delta = delta * min(1.0, eps / float(delta.norm()))
            delta = torch.minimum(torch.maximum(delta, -s), 1 - s)
    return low + span * (s + best)


@pytest.mark.parametrize('padding', [0, 16])
@pytest.mark.parametrize('norm', EPS)
def test_it_is_the_plain_loop_on_stretched_images_that_are_not_normalised(norm, padding):
    side = SIZE + padding
    model = segmentor({'test_cfg': dict(size=(side, side))})
    raw = pale_images()
    space = space_of(model, raw)
    attack = PGD(norm, EPS[norm], steps=4, random_start=False)
    seen, to_pixels = unnormalised(space)
    found = to_pixels(seen.attack(attack, range(3)))
    crafted = Crafting(model, views=(unnormalised,)).attack(space, attack, range(3))
    for number, image in enumerate(raw):
        x, y = image.flip(0) / 255, space.samples[number].gt_sem_seg.data[0]
        expected = plain_attack(model, x, y, norm, EPS[norm], 4, padding)
        moved = (expected - x).abs().max()
        assert moved > 1e-3
        inside = found[number, :, :SIZE, :SIZE]
        # A gradient next to 0 may have either sign.
        assert ((inside - expected).abs() < 1e-4).float().mean() > 0.995
        assert ((crafted[number, :, :SIZE, :SIZE] - expected).abs() < 1e-3).float().mean() > 0.99
        assert torch.equal(found[number, :, SIZE:], space.pixels[number, :, SIZE:])
        assert torch.equal(found[number, :, :, SIZE:], space.pixels[number, :, :, SIZE:])
        assert float((inside - x).abs().max()) < EPS[norm] * float(x.max() - x.min()) + 1e-6
        scored = space.to_inputs(found)[number, :, :SIZE, :SIZE]
        by_hand = (255 * inside - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
        torch.testing.assert_close(scored, by_hand, rtol=0, atol=1e-4)


def test_the_network_gets_the_stretched_image_and_its_padding():
    model = segmentor({'test_cfg': dict(size=(40, 40)), 'pad_val': 7})
    space = space_of(model, pale_images())
    seen, _ = unnormalised(space)
    given = seen.to_inputs(seen.pixels)
    assert float(given[:, :, :SIZE, :SIZE].amin()) == 0
    torch.testing.assert_close(given[:, :, :SIZE, :SIZE].amax((1, 2, 3)), torch.ones(3))
    assert bool((given[:, :, SIZE:] == 7).all()) and bool((given[:, :, :, SIZE:] == 7).all())
    torch.testing.assert_close(seen.to_inputs(seen.pixels * 0.5)[:, :, :SIZE, :SIZE], given[:, :, :SIZE, :SIZE] * 0.5)


def test_radius_zero_returns_the_original_to_the_bit_and_the_batch_is_left_alone():
    space = space_of(segmentor(), pale_images())
    before = space.pixels.clone(), space.inputs.clone()
    found = Crafting(space.model, views=(unnormalised,)).attack(space, PGD('linf', 0.0), range(3))
    assert torch.equal(found, before[0])
    assert torch.equal(space.pixels, before[0]) and torch.equal(space.inputs, before[1])


def test_an_image_does_not_depend_on_the_others():
    space, attack = space_of(segmentor(), pale_images()), PGD('l2', 0.5, steps=3)
    crafting = Crafting(space.model, views=(unnormalised,))
    together = crafting.attack(space, attack, range(3))
    alone = torch.cat([crafting.attack(space.subset(torch.tensor([row])), attack, [row]) for row in range(3)])
    torch.testing.assert_close(together, alone, rtol=0, atol=2e-4)


def test_an_image_of_one_value_has_the_span_1():
    space = space_of(segmentor(), [torch.full((3, SIZE, SIZE), value, dtype=torch.uint8) for value in (0, 100, 255)])
    seen, to_pixels = unnormalised(space)
    assert not seen.pixels.any() and not seen.inputs.any()
    found = to_pixels(seen.attack(PGD('linf', 8 / 255, steps=2, random_start=False), range(3)))
    change = found - space.pixels
    assert torch.isfinite(found).all()
    for row in range(2):
        assert 0 < float(change[row].max()) <= 8 / 255 + 1e-6
        assert float(change[row].min()) >= 0  # s is 0, at the lower side of its box
    assert not change[2].any()  # white, and s can only rise


def test_without_normalisation_it_only_stretches():
    space = space_of(segmentor({'mean': None, 'std': None}), pale_images())
    seen, _ = unnormalised(space)
    torch.testing.assert_close(seen.to_inputs(seen.pixels), 255 * seen.pixels, rtol=0, atol=1e-4)
    low, high = seen.pixels.aminmax()
    assert (float(low), float(high)) == (0, 1)
