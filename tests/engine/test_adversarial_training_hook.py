"""Adversarial training against the loop of equation 2 written out, and with what it has to live with."""

import pytest
import torch
from helpers import (
    MEAN,
    ROOT,
    STD,
    ClassificationImages,
    Recorder,
    SegmentationImages,
    assert_same_state,
    classifier,
    runner,
    segmentor,
    state_of,
)
from mmengine.config import Config
from mmengine.registry import HOOKS
from torch import nn
from torch.nn import functional as F

from samat_mm.engine.hooks import AdversarialTrainingHook
from samat_mm.perturbations.inputs import PGD, Attack
from samat_mm.registry import ATTACKS

ATTACK = dict(type='PGD', norm='linf', eps='8/255', step_size='4/255', steps=2)
SAM = dict(type='SAMOptimWrapper', rho=0.5, optimizer=dict(type='SGD', lr=0.1))
MODELS = pytest.mark.parametrize(
    ('build', 'data'), [(classifier, ClassificationImages), (segmentor, SegmentationImages)], ids=['classes', 'maps']
)


class Counting(Attack):
    """An attack that counts its calls and keeps its results."""

    def __init__(self, attack):
        self.attack, self.objective, self.seed = attack, attack.objective, attack.seed
        self.results, self.indices = [], []

    def __call__(self, predict, inputs, target, *, indices=None, sizes=None, box=None):
        self.indices.append(list(indices))
        self.results.append(self.attack(predict, inputs, target, indices=indices, sizes=sizes))
        return self.results[-1]

    def search(self, problem):
        return self.attack.search(problem)

    def describe(self):
        return self.attack.describe()


def train(build, data, tmp_path, attack=None, *, name='run', iterations=3, optim_wrapper=None, count=6, extra=()):
    """Train a few iterations; returns the model and what its backbone was fed in training mode."""
    model, recorder = build(), Recorder()
    hooks = [recorder, *extra]
    if attack is not None:
        hooks.append(AdversarialTrainingHook(attack))
    runner(
        model,
        tmp_path / name,
        train=data(count),
        iterations=iterations,
        optim_wrapper=optim_wrapper and dict(optim_wrapper),
        hooks=hooks,
    ).train()
    return model, recorder.inputs


# ------------------------------------------------------------------------------------------------- reference


def in_double():
    """A rounding error can turn a sign of a gradient, and training amplifies it: compare in double precision."""
    return classifier().double()


def normalise(pixels):
    mean, std = (torch.tensor(values).to(pixels).reshape(3, 1, 1) for values in (MEAN, STD))
    return (pixels * 255 - mean) / std


def reference_classifier_training(model, data, iterations, eps, step_size, steps, lr):
    """min over weights of max over ||d|| <= eps of the cross-entropy, from the image itself, batches of two."""
    data = data(6)
    for iteration in range(iterations):
        rows = range(2 * iteration, 2 * iteration + 2)
        pixels = torch.stack([data.raw[row].flip(0) for row in rows]).double() / 255
        target = torch.tensor([data.labels[row] for row in rows])
        model.eval()
        best, best_loss, adversarial = pixels, torch.full((2,), -float('inf'), dtype=torch.float64), pixels
        for step in range(steps + 1):
            adversarial = adversarial.detach().requires_grad_()
            loss = F.cross_entropy(
                model.head(model.neck(model.backbone(normalise(adversarial)))), target, reduction='none'
            )
            best = torch.where((loss > best_loss)[:, None, None, None], adversarial, best).detach()
            best_loss = torch.maximum(loss, best_loss).detach()
            if step < steps:
                (grad,) = torch.autograd.grad(loss.sum(), adversarial)
                moved = adversarial.detach() + step_size * grad.sign()
                adversarial = torch.minimum(torch.maximum(moved, pixels - eps), pixels + eps).clamp(0, 1)
        model.train()
        model.zero_grad()
        F.cross_entropy(model.head(model.neck(model.backbone(normalise(best)))), target).backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= lr * parameter.grad
    return model


def test_three_steps_are_those_of_the_loop_written_out(tmp_path):
    attack = PGD('linf', 8 / 255, 4 / 255, steps=2, random_start=False)
    trained, _ = train(in_double, ClassificationImages, tmp_path, attack)
    expected = reference_classifier_training(in_double(), ClassificationImages, 3, 8 / 255, 4 / 255, 2, lr=0.1)
    start = state_of(in_double())
    for key, value in expected.named_parameters():
        torch.testing.assert_close(trained.get_parameter(key), value, rtol=1e-4, atol=1e-6)
    plain, _ = train(in_double, ClassificationImages, tmp_path, name='plain')
    weight = 'head.fc.weight'
    assert (trained.state_dict()[weight] - start[weight]).norm() > 1e-3
    assert (trained.state_dict()[weight] - plain.state_dict()[weight]).norm() > 1e-3  # the attack matters


def test_fast_adversarial_training_is_one_step_from_a_random_start(tmp_path, monkeypatch):
    """Wong et al.: uniform in the ball, one step of 1.25 eps, back into the ball; the start where it is worse."""
    config = Config.fromfile(ROOT / 'configs/_base_/perturbations/fast-at-linf.py').adversarial_training
    attack = ATTACKS.build(config['attack'])
    assert (attack.eps, attack.step_size, attack.steps) == pytest.approx((8 / 255, 10 / 255, 1))
    starts = []
    start = PGD.start
    monkeypatch.setattr(PGD, 'start', lambda *given: starts.append(start(*given)) or starts[-1])
    _, fed = train(in_double, ClassificationImages, tmp_path, attack, iterations=1)
    model, data = in_double().eval(), ClassificationImages(6)
    pixels, target = (
        torch.stack([image.flip(0) for image in data.raw[:2]]).double() / 255,
        torch.tensor(data.labels[:2]),
    )
    start = starts[0].clone().requires_grad_()
    assert 7 / 255 < float((start - pixels).abs().max()) <= 8 / 255 + 1e-9

    def losses(images):
        return F.cross_entropy(model.head(model.neck(model.backbone(normalise(images)))), target, reduction='none')

    (grad,) = torch.autograd.grad(losses(start).sum(), start)
    moved = pixels + (start.detach() + 10 / 255 * grad.sign() - pixels).clamp(-8 / 255, 8 / 255)
    moved = moved.clamp(0, 1)
    higher = losses(moved) > losses(start)
    expected = torch.where(higher[:, None, None, None], moved, start.detach())
    torch.testing.assert_close(fed[0], normalise(expected), rtol=1e-9, atol=1e-6)


# -------------------------------------------------------------------------------------------- invariants


@MODELS
def test_the_model_is_trained_on_images_inside_the_ball_around_each_batch(build, data, tmp_path):
    _, clean = train(
        build, data, tmp_path, name='clean', optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.0))
    )
    _, fed = train(
        build, data, tmp_path, ATTACK, optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.0))
    )
    assert len(fed) == len(clean) == 3
    std = torch.tensor(STD).reshape(3, 1, 1) / 255
    for adversarial, original in zip(fed, clean, strict=True):
        moved = ((adversarial - original) * std).abs().flatten(1).amax(1)
        assert float(moved.max()) <= 8 / 255 * (1 + 1e-4)
        assert float(moved.min()) >= 4 / 255


@MODELS
def test_radius_zero_is_plain_training_to_the_bit(build, data, tmp_path):
    plain, _ = train(build, data, tmp_path, name='plain')
    zero, _ = train(build, data, tmp_path, {**ATTACK, 'eps': 0, 'step_size': 0})
    assert_same_state(state_of(zero), state_of(plain))


@MODELS
def test_with_sam_one_perturbation_serves_both_forwards(build, data, tmp_path):
    """delta at w; then e at (w, x + delta); then descend at (w + e, x + delta), with the same delta."""
    counting = Counting(PGD('linf', '8/255', '4/255', steps=2))
    _, fed = train(build, data, tmp_path, counting, optim_wrapper=SAM)
    assert len(counting.results) == 3  # once per iteration
    assert len(fed) == 6  # two forwards per iteration
    for iteration in range(3):
        assert torch.equal(fed[2 * iteration], fed[2 * iteration + 1])
        assert not torch.equal(fed[2 * iteration], fed[(2 * iteration + 2) % 6])
    assert len({index for indices in counting.indices for index in indices}) == 6  # each image has its own start


def test_with_sam_the_weights_are_those_of_the_composition_written_out(tmp_path):
    """Three steps; the batch is crafted at w, the ascent gradient and the descent gradient are taken on it."""
    attack = PGD('linf', 8 / 255, 4 / 255, steps=2, random_start=False)
    trained, fed = train(in_double, ClassificationImages, tmp_path, attack, optim_wrapper=SAM)
    model, data = in_double(), ClassificationImages(6)
    parameters = list(model.parameters())
    model.train()

    def gradients(inputs, target):
        return torch.autograd.grad(F.cross_entropy(model(inputs, mode='tensor'), target), parameters)

    for iteration in range(3):
        inputs, target = fed[2 * iteration], torch.tensor(data.labels[2 * iteration : 2 * iteration + 2])
        ascent = gradients(inputs, target)
        norm = torch.stack([grad.norm() for grad in ascent]).norm()
        statistics = {key: value.clone() for key, value in model.named_buffers()}
        with torch.no_grad():
            original = [parameter.clone() for parameter in parameters]
            for parameter, grad in zip(parameters, ascent, strict=True):
                parameter += 0.5 * grad / norm
        descent = gradients(inputs, target)
        with torch.no_grad():
            for parameter, value, grad in zip(parameters, original, descent, strict=True):
                parameter.copy_(value - 0.1 * grad)
            for key, value in model.named_buffers():
                value.copy_(statistics[key])
    for key, value in model.state_dict().items():
        torch.testing.assert_close(trained.state_dict()[key], value, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize('optim_wrapper', [None, SAM], ids=['sgd', 'sam'])
def test_running_statistics_see_the_adversarial_batch_once_and_nothing_else(optim_wrapper, tmp_path):
    start = classifier().backbone.norm1
    trained, fed = train(classifier, ClassificationImages, tmp_path, ATTACK, iterations=1, optim_wrapper=optim_wrapper)
    assert int(trained.backbone.norm1.num_batches_tracked) == int(start.num_batches_tracked) + 1
    with torch.no_grad():
        features = classifier().backbone.conv1(fed[0])  # at the weights of the forward
    mean, variance = features.mean((0, 2, 3)), features.var((0, 2, 3), unbiased=True)
    torch.testing.assert_close(
        trained.backbone.norm1.running_mean, 0.9 * start.running_mean + 0.1 * mean, rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(
        trained.backbone.norm1.running_var, 0.9 * start.running_var + 0.1 * variance, rtol=1e-4, atol=1e-5
    )


def without_batch_statistics(model):
    """Keep batch normalisation in evaluation mode, so that a batch of four is the mean of two of two."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
            module.train = lambda mode=True, module=module: module
    return model


@pytest.mark.parametrize('sam', [False, True])
def test_gradient_accumulation_crafts_every_micro_batch_and_steps_once(sam, tmp_path):
    counting = Counting(PGD('linf', '8/255', '4/255', steps=1, random_start=False))
    wrapper = dict(SAM if sam else dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1)), accumulative_counts=2)
    trained, fed = train(
        lambda: without_batch_statistics(classifier()),
        ClassificationImages,
        tmp_path,
        counting,
        iterations=2,
        optim_wrapper=wrapper,
    )
    assert len(counting.results) == 2
    assert len(fed) == (4 if sam else 2)
    if sam:
        return  # the weights of SAM under accumulation are the business of its own tests
    reference = without_batch_statistics(classifier())
    both = torch.cat([normalise(pixels) for pixels in counting.results])
    F.cross_entropy(reference(both, mode='tensor'), torch.tensor(ClassificationImages(6).labels[:4])).backward()
    for ours, parameter in zip(trained.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours, parameter.detach() - 0.1 * parameter.grad, rtol=1e-4, atol=2e-6)


class TwoImages(ClassificationImages):
    """The same two images again and again."""

    def __getitem__(self, index):
        return super().__getitem__(index % 2)


def test_every_image_of_every_iteration_has_a_start_of_its_own(tmp_path):
    counting = Counting(PGD('linf', '8/255', steps=1))
    train(classifier, TwoImages, tmp_path, counting)
    indices = [index for row in counting.indices for index in row]
    assert len(indices) == len(set(indices)) == 6


def test_validation_between_iterations_is_on_clean_images(tmp_path):
    counting = Counting(PGD('linf', '8/255', steps=1))
    model = classifier()
    data = ClassificationImages(4)
    run = runner(
        model,
        tmp_path,
        train=data,
        evaluate=data,
        iterations=2,
        val_interval=1,
        hooks=[AdversarialTrainingHook(counting)],
    )
    run.train()
    assert len(counting.results) == 2  # the training batches only


def test_the_hook_is_gone_after_training(tmp_path):
    counting = Counting(PGD('linf', '8/255', steps=1))
    model, _ = train(classifier, ClassificationImages, tmp_path, counting, iterations=1)
    data = ClassificationImages(2)
    batch = {'inputs': data.raw, 'data_samples': [data[index]['data_samples'] for index in range(2)]}
    model.forward(**model.data_preprocessor(batch, True), mode='loss')
    model(**model.data_preprocessor(batch, True), mode='loss')
    assert len(counting.results) == 1


# ----------------------------------------------------------------------------------------------- bad values


def test_a_wrong_radius_is_refused_when_the_config_is_built():
    with pytest.raises(ValueError, match=r"Did you mean '8/255'"):
        AdversarialTrainingHook(dict(type='PGD', eps=8))
    with pytest.raises(ValueError, match=r'is unknown; the known ones are'):
        AdversarialTrainingHook(dict(type='PGDX'))


def test_a_presets_name_is_understood_or_refused_when_the_config_is_built():
    """AttackEvaluationHook takes names; here one must not fail at the first iteration in a way nobody understands."""
    try:
        hook = AdversarialTrainingHook('pgd-linf')
    except (ValueError, TypeError) as error:
        assert 'pgd-linf' in str(error)
    else:
        assert isinstance(hook.attack, Attack)


@pytest.mark.parametrize('name', ['segpgd-at', 'fast-at', 'trades', 'pgd-at'])
@MODELS
def test_every_kind_of_training_by_its_config(build, data, name, tmp_path):
    """SegPGD is for segmentors, and says so."""
    config = Config.fromfile(ROOT / f'configs/_base_/perturbations/{name}-linf.py').adversarial_training
    model, recorder = build(), Recorder()
    run = runner(model, tmp_path, train=data(4), iterations=2, hooks=[HOOKS.build(config), recorder])
    if name == 'segpgd-at' and build is classifier:
        with pytest.raises(ValueError, match='segpgd'):
            run.train()
        return
    start = state_of(model)
    run.train()
    assert all(bool(torch.isfinite(value).all()) for value in state_of(model).values())
    assert any(not torch.equal(value, start[key]) for key, value in state_of(model).items())
    assert len(recorder.inputs) == 2 * {'trades': 3}.get(name, 1)


@pytest.mark.parametrize('craft_dtype', ['float32', 'bfloat16'])
@MODELS
def test_the_attack_in_a_precision_of_its_own_leaves_training_alone(build, data, craft_dtype, tmp_path):
    hook = AdversarialTrainingHook(ATTACK, craft_dtype=craft_dtype)
    _, fed = train(build, data, tmp_path, extra=[hook], iterations=1)
    _, clean = train(build, data, tmp_path, name='clean', iterations=1)
    moved = (fed[0] - clean[0]) * torch.tensor(STD).reshape(3, 1, 1) / 255
    assert fed[0].dtype == torch.float32
    assert 4 / 255 <= float(moved.abs().max()) <= 8 / 255 * (1 + 1e-4)
    with pytest.raises(ValueError, match='craft_dtype must be one of float32, bfloat16, mixed; got'):
        AdversarialTrainingHook(ATTACK, craft_dtype='float16')


@pytest.mark.parametrize('batch', [[1, 2], {'images': 1}, None])
def test_batches_without_inputs_are_refused(batch):
    class Run:
        iter = 0

    with pytest.raises(TypeError, match=r"expects batches {'inputs': images"):
        AdversarialTrainingHook(ATTACK).before_train_iter(Run(), 0, batch)


def test_it_is_built_by_name_from_mmengines_root_registry():
    hook = HOOKS.build(dict(type='AdversarialTrainingHook', attack=ATTACK))
    assert hook.attack.describe()['eps'] == pytest.approx(8 / 255)
