"""A batch in front of another model: what its own data preprocessor would make of the same images."""

import pytest
import torch
from helpers import CLASSES, classification_sample, classifier, labels, raw_images, segmentation_sample, segmentor

from samat_mm.crafting.crafting import Crafting
from samat_mm.perturbations.inputs import FAB, PGD
from samat_mm.pixels.on_surrogate import OnSurrogate
from samat_mm.pixels.pixel_space import PixelSpace
from samat_mm.pixels.unnormalised import unnormalised
from samat_mm.tasks import task_of

OTHER = dict(mean=(100.0, 120.0, 90.0), std=(70.0, 60.0, 50.0))
KINDS = {
    'maps': (segmentor, lambda row: segmentation_sample(labels(32, 32, classes=CLASSES, seed=row)), 'bgr_to_rgb'),
    'classes': (classifier, lambda row: classification_sample(row % CLASSES), 'to_rgb'),
}
each_kind = pytest.mark.parametrize('kind', KINDS)


def space_of(kind, model, count=3):
    raw, samples = raw_images(count, 32, 32), [KINDS[kind][1](row) for row in range(count)]
    data = model.data_preprocessor({'inputs': raw, 'data_samples': samples}, False)
    return PixelSpace(model, raw, data['inputs'], data['data_samples'])


def view_of(space, surrogate):
    return OnSurrogate(surrogate, task_of(surrogate, space.samples))


@each_kind
@pytest.mark.parametrize('converted', [True, False], ids=['RGB', 'BGR'])
@pytest.mark.parametrize('statistics', [{}, OTHER, dict(mean=None, std=None)], ids=['same', 'other', 'none'])
def test_it_gets_what_its_own_preprocessor_makes_and_the_attack_is_its_own(kind, converted, statistics):
    model = KINDS[kind][0]()
    surrogate = KINDS[kind][0]({KINDS[kind][2]: converted, **statistics}, seed=1)
    space, own = space_of(kind, model), space_of(kind, surrogate)
    view = view_of(space, surrogate)
    seen, back = view(space)
    torch.testing.assert_close(seen.inputs, own.inputs, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(seen.pixels, own.pixels, rtol=0, atol=1e-6)
    attack = PGD('l2', 0.5, steps=3)
    expected = own.attack(attack, range(3))
    assert (expected - own.pixels).abs().max() > 1e-3
    in_order = expected if converted else expected.flip(1)
    torch.testing.assert_close(back(seen.attack(attack, range(3))), in_order, rtol=0, atol=2e-4)
    crafted = Crafting(surrogate, views=(view,)).attack(space, attack, range(3))
    torch.testing.assert_close(crafted, in_order, rtol=0, atol=1e-3)


@each_kind
def test_with_equal_preprocessors_nothing_changes_to_the_bit(kind):
    space = space_of(kind, KINDS[kind][0]())
    seen, back = view_of(space, KINDS[kind][0](seed=1))(space)
    assert torch.equal(seen.inputs, space.inputs) and torch.equal(seen.pixels, space.pixels)
    assert back(seen.pixels) is seen.pixels


def test_padding_keeps_the_values_that_the_model_gives_it():
    padded = dict(test_cfg=dict(size=(40, 40)), pad_val=7)
    space = space_of('maps', segmentor(padded))
    seen, _ = view_of(space, segmentor({**padded, **OTHER}))(space)
    assert bool((seen.inputs[:, :, 32:] == 7).all()) and bool((seen.inputs[:, :, :, 32:] == 7).all())
    assert not torch.equal(seen.inputs, space.inputs)


def test_both_views_in_turn():
    """Stretched pixels in front of the surrogate, which are not normalised."""
    space, surrogate = space_of('maps', segmentor()), segmentor(OTHER, seed=1)
    attack, view = PGD('l2', 0.5, steps=3), view_of(space, surrogate)
    own, to_pixels = unnormalised(space_of('maps', surrogate))
    expected = to_pixels(own.attack(attack, range(3)))
    found = Crafting(surrogate, views=(view, unnormalised)).attack(space, attack, range(3))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)
    assert not torch.allclose(found, Crafting(surrogate, views=(view,)).attack(space, attack, range(3)), atol=1e-3)


def test_an_attack_on_classes_leaves_images_alone_that_the_surrogate_gets_wrong():
    surrogate = classifier(seed=1)
    space = space_of('classes', classifier(), count=8)
    view = view_of(space, surrogate)
    wrong = view(space)[0].wrong(space.pixels)
    assert wrong.any() and not wrong.all()
    found = Crafting(surrogate, views=(view,)).attack(space, FAB('linf', '32/255', steps=5), range(8))
    moved = (found != space.pixels).flatten(1).any(1)
    assert not moved[wrong].any() and moved[~wrong].any()
