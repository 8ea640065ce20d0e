"""Attacks on the fast copy are those on the model, up to rounding."""

import copy
import gc
import pickle
import threading
import weakref

import pytest
import torch
from helpers import (
    CLASSES,
    RandomState,
    assert_same_state,
    classification_sample,
    classifier,
    images,
    labels,
    raw_images,
    segmentation_sample,
    segmentor,
    state_of,
)
from torch import nn

from samat_mm.crafting import crafting as module
from samat_mm.crafting.crafting import Crafting
from samat_mm.model_state import frozen
from samat_mm.perturbations.inputs import FAB, FGSM, PGD, Square, Torchattacks
from samat_mm.pixels.passes import Passes
from samat_mm.pixels.pixel_space import PixelSpace


class Small(nn.Module):
    """A classifier with MMEngine's modes; its loss takes more of a convolution than its logits do."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.norm = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.deep, self.deep_norm = nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.linear = nn.Linear(6, CLASSES)
        for norm in (self.norm, self.deep_norm):
            norm.running_var.uniform_(0.1, 0.3)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        features = self.deep(torch.tanh(self.norm(self.stem(inputs))))
        logits = 20 * self.linear(torch.tanh(self.deep_norm(features)).mean((2, 3)))
        if mode == 'loss':
            target = torch.cat([sample.gt_label for sample in data_samples])
            return {'loss': nn.functional.cross_entropy(logits, target) + features.square().mean()}
        return logits

    def parse_losses(self, losses):
        return losses['loss'], {}


class Listener:
    """Keeps the output of a layer; cannot be copied."""

    def __init__(self, layer):
        self.heard, self.lock = [], threading.Lock()
        layer.register_forward_hook(self)

    def __call__(self, layer, args, output):
        self.heard.append((layer, output.dtype))

    @property
    def dtypes(self):
        return {dtype for _, dtype in self.heard}


def labelled(model, inputs):
    """Samples labelled with the model's predictions, so no image is wrong at the start."""
    modes = [part.training for part in model.modules()]
    model.eval()
    with torch.no_grad():
        found = [classification_sample(int(label)) for label in model(inputs, mode='tensor').argmax(1)]
    for part, training in zip(model.modules(), modes, strict=True):
        part.training = training
    return found


def small_space(model, count=4, seed=0):
    raw = images(count, 3, 8, 8, seed=seed)
    return PixelSpace(model, raw, raw, labelled(model, raw))


def classifier_space():
    model, raw = classifier(), raw_images(4, 16, 16)
    samples = [classification_sample(index) for index in range(4)]
    data = model.data_preprocessor({'inputs': raw, 'data_samples': samples}, False)
    samples = labelled(model, data['inputs'])
    return PixelSpace(model, raw, data['inputs'], samples)


def segmentor_space():
    model, raw = segmentor(), raw_images(2, 32, 32)
    samples = [segmentation_sample(labels(32, 32, classes=CLASSES, seed=seed)) for seed in range(2)]
    data = model.data_preprocessor({'inputs': raw, 'data_samples': samples}, False)
    return PixelSpace(model, raw, data['inputs'], data['data_samples'])


SPACES = {'small': lambda: small_space(Small()), 'classifier': classifier_space, 'segmentor': segmentor_space}


@pytest.fixture
def logged(monkeypatch):
    messages = []
    monkeypatch.setattr(module, 'print_log', lambda message, logger: messages.append(message))
    module._warn_of_slow_bfloat16.cache_clear()
    yield messages
    module._warn_of_slow_bfloat16.cache_clear()


# ------------------------------------------------------------------------------------------------- same attack


@pytest.mark.parametrize('name', SPACES)
@pytest.mark.parametrize('training', [False, True])
def test_l2_attacks_give_the_same_images(name, training):
    space = SPACES[name]()
    attack = PGD('l2', 0.5, steps=3)
    expected = space.attack(attack, range(len(space.pixels)), training=training)
    found = Crafting(space.model).attack(space, attack, range(len(space.pixels)), training=training)
    assert found.is_contiguous() and not found.requires_grad
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-4)
    assert (found - space.pixels).flatten(1).norm(dim=1).max() > 0.4


@pytest.mark.parametrize('name', SPACES)
@pytest.mark.parametrize('attack', [FGSM(eps='8/255'), PGD(eps='8/255', steps=4), PGD('l2', 1.0, steps=4)], ids=repr)
@pytest.mark.parametrize('dtype', ['float32', 'bfloat16', 'mixed'])
def test_no_attack_leaves_the_ball(name, attack, dtype):
    space = SPACES[name]()
    found = Crafting(space.model, dtype).attack(space, attack, range(len(space.pixels)))
    change = attack.ball.norm(found - space.pixels)
    assert found.dtype == torch.float32 and found.shape == space.pixels.shape
    assert change.max() <= attack.eps * (1 + 1e-5) and change.max() > attack.eps / 2
    assert found.min() >= 0 and found.max() <= 1


def test_linf_attacks_are_as_strong():
    """Signs of gradients near zero may differ, but not their effect."""
    space = segmentor_space()
    attack = PGD(eps='4/255', steps=5)
    correct = []
    for pixels in (space.attack(attack, range(2)), Crafting(space.model).attack(space, attack, range(2))):
        with torch.no_grad():
            results = space.model.eval().forward(space.to_inputs(pixels), space.samples, mode='predict')
        correct += [sum(int((each.pred_sem_seg.data == each.gt_sem_seg.data).sum()) for each in results)]
    assert abs(correct[0] - correct[1]) <= 0.01 * correct[0]


@pytest.mark.parametrize('order', [('cross-entropy', 'model-loss'), ('model-loss', 'cross-entropy')], ids=str)
def test_the_training_loss_has_a_copy_of_its_own(order):
    """What can be folded for the logits cannot for the loss, which takes the convolution's output itself."""
    space = small_space(Small())
    crafting = Crafting(space.model)
    for objective in order:
        attack = PGD('l2', 0.5, steps=3, objective=objective)
        found = crafting.attack(space, attack, range(4), training=True)
        torch.testing.assert_close(found, space.attack(attack, range(4), training=True), rtol=0, atol=2e-4)


def test_the_copy_follows_the_model():
    space = small_space(Small())
    attack, crafting = PGD('l2', 0.5, steps=2), Crafting(space.model)
    crafting.attack(space, attack, range(4))
    for change in (
        lambda model: model.stem.weight.data.mul_(-1),
        lambda model: model.norm.running_mean.add_(0.3),
        lambda model: setattr(model, 'linear', nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, CLASSES))),
        lambda model: model.norm.register_forward_hook(lambda norm, args, output: output.flip(1)),
    ):
        before = space.attack(attack, range(4))
        change(space.model)
        expected = space.attack(attack, range(4))
        assert not torch.allclose(before, expected, atol=1e-3)
        torch.testing.assert_close(crafting.attack(space, attack, range(4)), expected, rtol=0, atol=2e-4)


def test_attacks_on_a_model_other_than_that_of_the_images():
    """Images made on a surrogate."""
    surrogate = Small()
    surrogate.linear.weight.data.neg_()
    space, attack = small_space(Small()), PGD('l2', 0.5, steps=2)
    found = Crafting(surrogate).attack(space, attack, range(4))
    torch.testing.assert_close(found, space.on(surrogate).attack(attack, range(4)), rtol=0, atol=2e-4)
    assert not torch.allclose(found, space.attack(attack, range(4)), atol=1e-3)


def test_no_images():
    space = small_space(Small()).subset(torch.zeros(0, dtype=torch.long))
    assert Crafting(space.model).attack(space, PGD(steps=1), []).shape == (0, 3, 8, 8)


# ---------------------------------------------------------------------------------------- the model untouched


@pytest.mark.parametrize('dtype', [None, 'bfloat16', 'mixed'])
@pytest.mark.parametrize('attack', [PGD(steps=2), PGD(steps=2, goal='error'), Square(queries=5)], ids=repr)
def test_the_model_is_left_as_it_was(dtype, attack):
    model = Small().train()
    model.stem.requires_grad_(False)
    model.deep_norm.eval()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    listener = Listener(model.linear)
    space = small_space(model)
    before, modes, state = state_of(model), [part.training for part in model.modules()], RandomState()
    crafting = Crafting(model, dtype)
    for _ in range(2):
        crafting.attack(space, attack, range(4))
    assert_same_state(state_of(model), before)
    assert modes == [part.training for part in model.modules()]
    assert [name for name, each in model.named_parameters() if not each.requires_grad] == ['stem.weight', 'stem.bias']
    assert all(bool((parameter.grad == 1).all()) for parameter in model.parameters())
    assert list(model.linear._forward_hooks.values()) == [listener]
    assert state == RandomState()
    assert {layer is model.linear for layer, _ in listener.heard} == {True, False}  # from the copy too


def test_copies_are_neither_copied_nor_pickled():
    space, attack = small_space(Small()), PGD('l2', 0.5, steps=2)
    crafting = Crafting(space.model, 'bfloat16')
    crafting.attack(space, attack, range(4))
    for other in (copy.deepcopy(crafting), pickle.loads(pickle.dumps(crafting))):
        assert other.model is not space.model and other.dtype == 'bfloat16'
        other.model.linear.weight.data.neg_()
        there = space.on(other.model)
        found = other.attack(there, PGD('l2', 0.5, steps=2), range(4))
        # Up the gradient of the other model, which points the other way.
        assert not torch.allclose(found, crafting.attack(space, attack, range(4)), atol=1e-2)


def test_nothing_keeps_the_copy_alive():
    space = small_space(Small())
    listener = Listener(space.model.linear)
    crafting = Crafting(space.model)
    crafting.attack(space, PGD(steps=1), range(4))
    copied = weakref.ref(next(layer for layer, _ in listener.heard if layer is not space.model.linear))
    listener.heard.clear()
    del crafting
    gc.collect()
    assert copied() is None


def test_nothing_grows():
    """Over many attacks, with the counting of passes."""
    space = small_space(Small())
    crafting, counts = Crafting(space.model), []
    for _ in range(4):
        crafting.attack(space, PGD(steps=2, goal='error'), range(4))
        gc.collect()
        counts.append(sum(type(thing) in (torch.Tensor, nn.Parameter) for thing in gc.get_objects()))
    assert counts[1] == counts[-1]


# -------------------------------------------------------------------------------------------------- fall-backs


class Random(Small):
    def forward(self, inputs, data_samples=None, mode='tensor'):
        return super().forward(inputs + 0.1 * torch.randn_like(inputs), data_samples, mode)


def uncopyable():
    model = Small()
    model.lock = threading.Lock()
    return model


def compiled():
    model = Small()
    model.forward = torch.compile(model.forward, backend='eager')
    return model


@pytest.mark.parametrize(
    'build, reason',
    [(Random, 'computes something else'), (uncopyable, 'cannot be copied'), (compiled, 'still runs the model itself')],
)
def test_the_model_itself_where_there_is_no_copy(build, reason, logged):
    space, attack = small_space(build().train()), PGD('l2', 0.5, steps=2)
    before, crafting = state_of(space.model), Crafting(space.model)
    for _ in range(2):
        torch.manual_seed(3)
        found = crafting.attack(space, attack, range(4))
        torch.manual_seed(3)
        torch.testing.assert_close(found, space.attack(attack, range(4)), rtol=0, atol=1e-6)
    assert len(logged) == 1 and logged[0].startswith('Attacks run on the model itself: ') and reason in logged[0]
    assert_same_state(state_of(space.model), before)


def test_what_attacks_refuse_is_refused_in_the_same_words():
    space = small_space(Small())
    space.model.with_cp = True
    with pytest.raises(ValueError, match='with_cp=True'):
        Crafting(space.model).attack(space, PGD(steps=1), range(4))
    space.model.with_cp = False
    space.samples = [type(sample)() for sample in space.samples]
    with pytest.raises(ValueError, match=r'needs a label for every image, but an image has no gt_label'):
        Crafting(space.model).attack(space, PGD(steps=1), range(4))


# --------------------------------------------------------------------------------------------------- precision


def test_unknown_precision():
    with pytest.raises(ValueError, match=r'craft_dtype must be one of.*float16'):
        Crafting(Small(), 'float16')


@pytest.mark.parametrize(
    'dtype, ambient, expected',
    [
        (None, None, torch.float32),
        (None, torch.bfloat16, torch.bfloat16),
        (None, torch.float16, torch.float32),
        ('float32', torch.bfloat16, torch.float32),
        ('float32', torch.float16, torch.float32),
        ('bfloat16', None, torch.bfloat16),
        ('bfloat16', torch.float16, torch.bfloat16),
    ],
    ids=str,
)
@pytest.mark.parametrize('build', [Small, uncopyable])
def test_precision(dtype, ambient, expected, build, logged):
    space = small_space(build())
    crafting = Crafting(space.model, dtype)
    with torch.autocast('cpu', dtype=ambient or torch.bfloat16, enabled=ambient is not None):
        crafting.attack(space, PGD(steps=1), range(4))
        listener, stem = Listener(space.model.linear), Listener(space.model.deep)
        crafting.attack(space, PGD(steps=1), range(4))  # the copy is made by now, or made anew without folding
    of_attack = [entry for entry in listener.heard if entry[1] == expected]
    assert of_attack[-3:] == listener.heard[-3:]
    assert stem.heard[-1][1] == expected


def test_the_stem_sees_single_precision():
    """A hook on the activation after it; one on the stem itself would keep it from being folded."""
    model = Small()
    model.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.Identity())
    listener = Listener(model.stem[1])
    space = small_space(model)
    Crafting(model, 'bfloat16').attack(space, PGD(steps=1), range(4))
    assert listener.dtypes == {torch.float32}


@pytest.mark.parametrize('name', ['FAB', 'DeepFool', 'PGD'])
def test_attacks_of_torchattacks_run_on_the_copy_whose_layout_is_another(name):
    space = small_space(Small())
    found = Crafting(space.model).attack(space, Torchattacks(name), range(4))
    assert torch.isfinite(found).all() and not torch.equal(found, space.pixels)


@pytest.mark.parametrize('before', [True, False])
@pytest.mark.parametrize(('goal', 'trials'), [('loss', True), ('error', False)])
def test_cudnn_tries_no_kernels_where_images_drop_out_nor_for_the_one_that_checks_a_copy(
    goal, trials, before, monkeypatch
):
    monkeypatch.setattr(torch.backends.cudnn, 'benchmark', before)
    space, seen = small_space(Small()), []
    space.model.linear.register_forward_hook(
        lambda _, args, output: seen.append((len(output), torch.backends.cudnn.benchmark))
    )
    Crafting(space.model).attack(space, PGD(steps=2, goal=goal), range(4))
    assert {tried for count, tried in seen if count == 4} == {before and trials}
    assert {tried for count, tried in seen if count == 1} == {False}
    assert torch.backends.cudnn.benchmark == before


@pytest.mark.parametrize(
    ('ambient', 'expected'),
    [(None, 4 * [torch.bfloat16] + 3 * [torch.float32]), (torch.bfloat16, 6 * [torch.bfloat16])],
    ids=str,
)
def test_mixed_precision_is_bfloat16_at_first_and_the_model_s_own_in_the_end(ambient, expected):
    """Five steps: four early ones, then the best of these, the last step and its result in the model's precision."""
    space = small_space(Small())
    crafting = Crafting(space.model, 'mixed')
    with torch.autocast('cpu', dtype=ambient or torch.bfloat16, enabled=ambient is not None):
        crafting.attack(space, PGD(steps=5), range(4))
        listener = Listener(space.model.linear)
        crafting.attack(space, PGD(steps=5), range(4))
    assert [dtype for _, dtype in listener.heard][-len(expected) :] == expected


@pytest.mark.parametrize('name', SPACES)
def test_mixed_precision_is_as_strong(name):
    space = SPACES[name]()
    attack, numbers = PGD('l2', 0.5, steps=10), range(len(space.pixels))
    predict, target = space._predict(attack, False)
    losses = []
    for crafting in (Crafting(space.model, dtype) for dtype in ('float32', 'mixed')):
        with torch.no_grad(), frozen(space.model):
            losses.append(attack.objective(predict(crafting.attack(space, attack, numbers)), target, 0, 1))
    assert not torch.equal(*losses)
    torch.testing.assert_close(*losses, rtol=0.01, atol=0)


def test_two_precisions_in_turn(logged):
    space, attack = small_space(Small()), PGD('l2', 0.5, steps=2)
    crafting = Crafting(space.model)
    first = crafting.attack(space, attack, range(4))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        reduced = crafting.attack(space, attack, range(4))
    assert torch.equal(crafting.attack(space, attack, range(4)), first)
    assert not torch.equal(reduced, first)
    torch.testing.assert_close(reduced, first, rtol=0, atol=0.1)


@pytest.mark.parametrize(
    'level, avx512_bf16, amx, told',
    [
        ('AVX2', False, False, 1),
        ('AVX512', False, False, 1),
        ('AVX512', True, False, 0),
        ('AVX512', False, True, 0),
        ('DEFAULT', False, False, 0),
    ],
)
def test_a_processor_without_bfloat16_is_told_of_once(level, avx512_bf16, amx, told, logged, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, 'get_cpu_capability', lambda: level)
    monkeypatch.setattr(torch.cpu, '_is_avx512_bf16_supported', lambda: avx512_bf16)
    monkeypatch.setattr(torch.cpu, '_is_amx_tile_supported', lambda: amx)
    space = small_space(Small())
    Crafting(space.model).attack(space, PGD(steps=1), range(4))
    assert not logged
    for _ in range(2):
        Crafting(space.model, 'bfloat16').attack(space, PGD(steps=1), range(4))
    assert len(logged) == told
    assert all('no bfloat16 instructions' in message for message in logged)


# ------------------------------------------------------------------------- errors that only the copy makes


def wrong_copies(monkeypatch):
    """Let every copy answer another class than its model."""
    sync = module.FastCopy.sync

    def spoiled(self):
        sync(self)
        if self.memory_format == torch.channels_last:  # not while it is being made
            self.model.linear.bias.data.add_(torch.tensor([1e3, 0, 0, 0]))

    monkeypatch.setattr(module.FastCopy, 'sync', spoiled)


@pytest.mark.parametrize('attack', [PGD(eps='16/255', steps=5, goal='error'), FAB(eps='32/255', steps=5)], ids=repr)
@pytest.mark.parametrize('dtype', [None, 'bfloat16'])
def test_images_that_only_the_copy_gets_wrong_are_attacked_again(attack, dtype, monkeypatch, logged):
    space = small_space(Small(), count=8)
    expected = space.attack(attack, range(8))
    right = torch.tensor([int(sample.gt_label) != 0 for sample in space.samples])
    assert right.any()
    wrong_copies(monkeypatch)
    found = Crafting(space.model, dtype).attack(space, attack, range(8))
    torch.testing.assert_close(found[right], expected[right], rtol=0, atol=1e-6)
    assert bool((space.wrong(found) >= space.wrong(expected))[right].all())


@pytest.mark.parametrize('parameters', [{}, {'objective': 'model-loss', 'goal': 'error'}], ids=['logits', 'loss'])
def test_images_of_attacks_that_go_on_to_the_end_are_not(parameters, monkeypatch):
    space, attack = small_space(Small()), PGD(steps=1, **parameters)
    wrong_copies(monkeypatch)
    listener = Listener(space.model.linear)
    crafting = Crafting(space.model)
    crafting.attack(space, attack, range(4))
    listener.heard.clear()
    crafting.attack(space, attack, range(4))
    assert all(layer is not space.model.linear for layer, _ in listener.heard)


# ------------------------------------------------------------------------------------------------------ passes


@pytest.mark.parametrize('build', [Small, uncopyable])
@pytest.mark.parametrize(
    'attack, forwards, backwards',
    [
        (PGD(steps=5), 6, 5),
        (PGD(steps=5, restarts=2), 12, 10),
        (FGSM(), 2, 1),
        (PGD(steps=3, objective='model-loss'), 4, 3),
    ],
    ids=str,
)
def test_passes(build, attack, forwards, backwards):
    space = small_space(build())
    crafting = Crafting(space.model)
    for _ in range(2):  # making the copy does not count
        space.passes = Passes()
        crafting.attack(space, attack, range(4))
        assert (space.passes.forwards, space.passes.backwards) == (4 * forwards, 4 * backwards)


def test_passes_of_images_that_are_left_out():
    """FAB on images that are right: one forward each, then K gradients and two forwards a step; two more at the end."""
    space = small_space(Small(), count=5)
    label = int(space.samples[0].gt_label)
    space.samples[0] = classification_sample((label + 1) % CLASSES)
    attack = FAB('l2', 1e-6, steps=3)
    space.passes = Passes()
    space.attack(attack, range(5))
    assert (space.passes.forwards, space.passes.backwards) == (5 + 4 * 3 * 2, 4 * 3 * CLASSES)
    space.passes = Passes()
    Crafting(space.model).attack(space, attack, range(5))
    assert (space.passes.forwards, space.passes.backwards) == (5 + 4 * 3 * 2 + 2 * 5, 4 * 3 * CLASSES)


def test_counting_keeps_nothing_alive():
    weight, passes = torch.ones(3, requires_grad=True), Passes()
    output = weight * 2
    passes.count(output, 7)
    output.sum().backward(retain_graph=True)
    torch.autograd.grad(output.sum(), weight)
    assert passes == Passes(7, 14)
    passes.count({'loss': 0}, 2)
    passes.count(output.detach(), 2)
    assert passes == Passes(11, 14)
    node = weakref.ref(output)
    del output
    gc.collect()
    assert node() is None


# ------------------------------------------------------------------------------------------------- pixel space


@pytest.mark.parametrize('name', SPACES)
def test_wrong_is_what_the_prediction_says(name):
    space = SPACES[name]()
    found = space.wrong(space.pixels)
    assert found.dtype == torch.bool and not found.any()
    if name == 'segmentor':
        return
    space.samples[1] = classification_sample((int(space.samples[1].gt_label) + 1) % CLASSES)
    assert space.wrong(space.pixels).tolist() == [False, True, False, False]


def test_a_space_on_another_model():
    space = small_space(Small())
    other = Small()
    there = space.on(other, torch.channels_last)
    assert there.model is other and space.model is not other and there.passes is space.passes
    assert there.pixels.is_contiguous(memory_format=torch.channels_last) and torch.equal(there.pixels, space.pixels)
    assert there.inputs.is_contiguous(memory_format=torch.channels_last) and space.inputs.is_contiguous()


def test_output_is_what_an_attack_sees():
    space = small_space(Small().train())
    output = space.output(PGD(steps=1))
    torch.testing.assert_close(output, copy.deepcopy(space.model).eval()(space.inputs))
    assert not output.requires_grad and space.model.training
    assert space.output(PGD(steps=1, objective='model-loss'), training=True).shape == ()


@pytest.mark.parametrize('to_rgb', [True, False])
def test_the_order_of_channels(to_rgb):
    space = segmentor_space()
    assert not space.is_bgr
    model = segmentor({'bgr_to_rgb': to_rgb})
    raw, samples = raw_images(1, 32, 32), [segmentation_sample(torch.zeros(32, 32).long())]
    data = model.data_preprocessor({'inputs': raw, 'data_samples': samples}, False)
    space = PixelSpace(model, raw, data['inputs'], data['data_samples'])
    assert space.is_bgr is not to_rgb
    loaded = raw[0] / 255  # blue, green, red
    torch.testing.assert_close(space.pixels[0], loaded if space.is_bgr else loaded.flip(0), rtol=0, atol=1e-6)
    assert not small_space(Small()).is_bgr
