"""Free adversarial training against its loop written out, and with what it has to live with."""

import pytest
import torch
from helpers import (
    MEAN,
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
from mmengine.dataset import DefaultSampler, pseudo_collate
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from samat_mm.engine.hooks import FreePerturbationHook

# No pixel of 8 bits comes to lie at the very end of the box, where rounding decides whether it has a gradient.
EPS, STEP, REPLAYS = 7.7 / 255, 5.3 / 255, 3
FREE = dict(replays=REPLAYS, perturbation=dict(eps=EPS, step_size=STEP))
MODELS = pytest.mark.parametrize(
    ('build', 'data'), [(classifier, ClassificationImages), (segmentor, SegmentationImages)], ids=['classes', 'maps']
)


def train(
    build, data, tmp_path, free=None, *, name='run', iterations=9, epochs=None, optim_wrapper=None, extra=(), **more
):
    """Train, ``free`` or plainly; return the model, its inputs and the runner."""
    model, recorder = build(), Recorder()
    data = data if isinstance(data, torch.utils.data.Dataset) else data(6)
    kind = 'IterBasedTrainLoop' if epochs is None else 'EpochBasedTrainLoop'
    length = dict(max_iters=iterations) if epochs is None else dict(max_epochs=epochs)
    run = runner(
        model,
        tmp_path / name,
        train=data,
        train_cfg=dict(type=kind if free is None else f'Free{kind}', **length, **(free or {})),
        optim_wrapper=optim_wrapper and dict(optim_wrapper),
        hooks=[recorder, *extra],
        **more,
    )
    run.train()
    return model, recorder.inputs, run


def perturbation_of(run):
    return next(hook for hook in run.hooks if isinstance(hook, FreePerturbationHook))


def normalise(pixels):
    mean, std = (torch.tensor(values).to(pixels).reshape(3, 1, 1) for values in (MEAN, STD))
    return (pixels * 255 - mean) / std


def loss_of(model, pixels, target):
    if not hasattr(model, 'decode_head'):
        return F.cross_entropy(model.head(model.neck(model.backbone(normalise(pixels)))), target)
    logits = model.decode_head(model.backbone(normalise(pixels)))
    logits = F.interpolate(logits, target.shape[1:], mode='bilinear', align_corners=model.align_corners)
    return F.cross_entropy(logits, target, ignore_index=255)


def steepest(grad, norm):
    return grad.sign() if norm == 'linf' else grad / grad.flatten(1).norm(dim=1)[:, None, None, None]


def projected(delta, norm, eps):
    if norm == 'linf':
        return delta.clamp(-eps, eps)
    return delta * (eps / delta.flatten(1).norm(dim=1)).clamp_max(1)[:, None, None, None]


@MODELS
@pytest.mark.parametrize(('norm', 'eps', 'step_size'), [('linf', EPS, STEP), ('l2', 2.0, 1.5)])
def test_three_batches_are_those_of_the_loop_written_out(build, data, norm, eps, step_size, tmp_path):
    """Algorithm 1 of Shafahi et al.: one backward pass for both, the perturbation carried from batch to batch."""
    free = dict(replays=REPLAYS, perturbation=dict(norm=norm, eps=eps, step_size=step_size))
    # Longer steps let rounding grow until it turns the sign of a gradient.
    sgd = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.001))
    trained, _, _ = train(lambda: build().double(), data, tmp_path, free, optim_wrapper=sgd)
    model, images = build().double().train(), data(6)
    delta, used = torch.zeros(2, 3, 32, 32).double(), []
    for first in range(0, 6, 2):
        rows = range(first, first + 2)
        pixels = torch.stack([images.raw[row].flip(0) for row in rows]).double() / 255
        target = torch.stack([torch.as_tensor(images.labels[row]) for row in rows])
        for _ in range(REPLAYS):
            used.append(delta)
            moving = delta.clone().requires_grad_()
            weights = list(model.parameters())
            loss = loss_of(model, (pixels + moving).clamp(0, 1), target)
            *grads, toward = torch.autograd.grad(loss, [*weights, moving], allow_unused=True)
            with torch.no_grad():
                for weight, grad in zip(weights, grads, strict=True):
                    if grad is not None:
                        weight -= 0.001 * grad
            delta = projected(delta + step_size * steepest(toward, norm), norm, eps)
    for key, value in model.state_dict().items():
        torch.testing.assert_close(trained.state_dict()[key], value, rtol=1e-6, atol=1e-9)
    assert all(bool(delta.abs().max() > 0) for delta in used[1:])


@MODELS
def test_every_batch_is_repeated_and_perturbed_within_the_ball(build, data, tmp_path):
    still = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.0))
    _, clean, _ = train(build, data, tmp_path, name='clean', iterations=3, optim_wrapper=still)
    _, fed, run = train(build, data, tmp_path, FREE, optim_wrapper=still)
    assert len(fed) == run.iter == 9
    std = torch.tensor(STD).reshape(3, 1, 1) / 255
    assert torch.equal(fed[0], clean[0])  # nothing is carried yet
    for number, adversarial in enumerate(fed[1:], 1):
        moved = (adversarial - clean[number // REPLAYS]) * std
        assert STEP * 0.99 < float(moved.abs().max()) <= EPS * (1 + 1e-4)
        pixels = adversarial * std + torch.tensor(MEAN).reshape(3, 1, 1) / 255
        assert float(pixels.min()) > -1e-6 and float(pixels.max()) < 1 + 1e-6


@MODELS
@pytest.mark.parametrize('length', [dict(iterations=6), dict(epochs=2)], ids=['iterations', 'epochs'])
def test_radius_zero_is_plain_training_on_repeated_batches(build, data, length, tmp_path):
    """Schedules count the optimizer steps. Here a batch is repeated across the end of the first epoch."""

    class Twice(data):
        def __getitem__(self, index):
            return super().__getitem__(index // 4 * 2 + index % 2)

    warm_up = dict(type='LinearLR', start_factor=0.1, end=6, by_epoch=False)
    free = dict(replays=2, perturbation=dict(eps=0))
    zero, fed, run = train(build, data, tmp_path, free, param_scheduler=warm_up, **length)
    assert len(fed) == run.iter == run.max_iters == 6
    plain, _, _ = train(build, Twice(12), tmp_path, name='plain', iterations=6, param_scheduler=warm_up)
    assert_same_state(state_of(zero), state_of(plain))


@pytest.mark.parametrize('replays', [1, 2, 3])
def test_every_pass_over_the_data_has_an_order_of_its_own(replays, tmp_path):
    """A pass takes ``replays`` epochs, also where the loader has fewer batches than that divides."""
    drawn = []

    class Seen(ClassificationImages):
        def __getitem__(self, index):
            drawn.append(index)
            return super().__getitem__(index)

    images = Seen(6)
    sampler = DefaultSampler(images, shuffle=True, seed=0)
    batches = DataLoader(images, batch_size=2, sampler=sampler, collate_fn=pseudo_collate)
    free = dict(replays=replays, perturbation=dict(eps=EPS))
    train(classifier, images, tmp_path, free, epochs=2 * replays, train_dataloader=batches)
    assert sorted(drawn[:6]) == sorted(drawn[6:]) == list(range(6))
    assert drawn[:6] != drawn[6:]


class Ragged(SegmentationImages):
    """Images of different sizes, which the preprocessor pads."""

    def __init__(self, count):
        super().__init__(count)
        for index in range(count):
            width = 32 - 4 * index
            self.raw[index], self.labels[index] = self.raw[index][..., :width], self.labels[index][:, :width]


def test_padding_is_never_perturbed(tmp_path):
    """Also where the image of the batch before had pixels there."""
    _, fed, _ = train(segmentor, Ragged(6), tmp_path, FREE)
    for number, inputs in enumerate(fed):
        for row, image in enumerate(inputs):
            width = 32 - 4 * (number // REPLAYS * 2 + row)
            assert bool((image[..., width:] == 0).all())
            assert bool((image[..., :width] != 0).any())


def test_a_smaller_batch_uses_the_first_rows_and_leaves_the_others(tmp_path):
    free = dict(replays=1, perturbation=dict(eps=EPS, step_size=EPS))
    carried = []
    for name, iterations in (('whole', 3), ('shorter', 2)):  # batches of 2, 2 and 1
        _, _, run = train(classifier, ClassificationImages(5), tmp_path, free, name=name, iterations=iterations)
        carried.append(perturbation_of(run)._carried)
    assert carried[0].shape == (2, 3, 32, 32)
    assert torch.equal(carried[0][1], carried[1][1])
    assert not torch.equal(carried[0][0], carried[1][0])


class Stop(Hook):
    def __init__(self, iteration):
        self.iteration = iteration

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.iteration:
            raise KeyboardInterrupt


class Noisy(Dataset):
    """Images that are augmented as they are loaded: the random numbers must be those of their batch."""

    def __init__(self, images):
        self.images, self.metainfo = images, images.metainfo

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        item = self.images[index]
        noise = torch.randint(0, 40, item['inputs'].shape, dtype=torch.uint8)
        return {**item, 'inputs': item['inputs'] // 2 + noise}


@MODELS
@pytest.mark.parametrize('killed', [3, 4, 5, 7])
@pytest.mark.parametrize('by_epoch', [False, True], ids=['iterations', 'epochs'])
def test_a_killed_run_resumes_bit_for_bit(build, data, by_epoch, killed, tmp_path):
    """From any checkpoint: between batches, within the replays of one, at the end of an epoch of 3 steps and within."""

    def run(name, extra=(), **more):
        images = Noisy(data(6))
        batches = DataLoader(
            images, batch_size=2, sampler=DefaultSampler(images, shuffle=True, seed=0), collate_fn=pseudo_collate
        )
        length = dict(epochs=3) if by_epoch else dict(iterations=9)
        model, _, run = train(
            *(build, images, tmp_path, dict(FREE, replays=2)),
            name=name,
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.05, momentum=0.9)),
            extra=[HOOKS.build(dict(type='ReproducibleResumeHook')), *extra],
            train_dataloader=batches,
            checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1),
            **length,
            **more,
        )
        return {**state_of(model), 'perturbation': perturbation_of(run)._carried}

    whole = run('whole')
    with pytest.raises(KeyboardInterrupt):
        run('killed', [Stop(killed)])
    assert_same_state(run('killed', resume=True), whole)


def test_epochs_that_became_shorter_are_trained_whole(tmp_path):
    """As on more processes: the iteration says nothing about the place in an epoch of another length."""
    more = dict(checkpoint=dict(type='CheckpointHook', by_epoch=True, interval=1), resume=True)
    train(classifier, ClassificationImages(6), tmp_path, FREE, epochs=2, **more)
    for epochs in (4, 5):  # the second one resumes after epochs of two lengths
        _, fed, run = train(classifier, ClassificationImages(4), tmp_path, FREE, epochs=epochs, **more)
        assert (run.epoch, run.iter) == (epochs, 2 * 3 + (epochs - 2) * 2)
    assert len(fed) == 2


def test_weights_that_are_loaded_begin_without_a_perturbation(tmp_path):
    checkpoint = dict(type='CheckpointHook', by_epoch=False, interval=3)
    train(classifier, ClassificationImages, tmp_path, FREE, iterations=3, checkpoint=checkpoint)
    path = str(tmp_path / 'run/iter_3.pth')
    assert torch.load(path, weights_only=False)['free_adversarial_training'].abs().max() > 0
    _, clean, _ = train(classifier, ClassificationImages, tmp_path, name='clean', iterations=1)
    _, fed, _ = train(classifier, ClassificationImages, tmp_path, FREE, name='next', iterations=1, load_from=path)
    assert torch.equal(fed[0], clean[0])


class SpoiledImages(Hook):
    """A gradient of the images with one bad value, in the second of them."""

    priority = 'HIGH'

    def __init__(self, value):
        self.value = value

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        perturbation_of(runner)._delta.grad[1, 2, 3, 4] = self.value


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
@pytest.mark.parametrize('norm', ['linf', 'l2'])
@pytest.mark.parametrize('wrapper', ['OptimWrapper', 'AnyDeviceAmpOptimWrapper'])
def test_a_gradient_of_the_images_that_is_not_finite_ends_the_training(wrapper, norm, value, tmp_path):
    free = dict(replays=1, perturbation=dict(norm=norm, eps=EPS))
    wrapper = dict(type=wrapper, optimizer=dict(type='SGD', lr=0.01))
    with pytest.raises(FloatingPointError, match='gradient of the loss with respect to the images is not finite'):
        train(classifier, ClassificationImages, tmp_path, free, optim_wrapper=wrapper, extra=[SpoiledImages(value)])


@pytest.mark.parametrize('fused', [False, True])
def test_a_loss_scale_that_was_too_large_leaves_the_perturbation(fused, tmp_path):
    """All gradients of the first step overflow, so that the optimizer does not take it."""
    carried = []

    class Overflow(Hook):
        priority = 'HIGH'

        def before_train(self, runner):
            runner.model.head.fc.weight.register_hook(lambda grad: grad if runner.iter else grad * torch.inf)

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            if runner.iter == 0:
                perturbation_of(runner)._delta.grad.fill_(torch.inf)

    class Watch(Hook):
        priority = 'LOWEST'

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            carried.append(float(perturbation_of(runner)._carried.abs().max()))

    wrapper = dict(type='AnyDeviceAmpOptimWrapper', optimizer=dict(type='SGD', lr=0.01, fused=fused))
    train(
        *(classifier, ClassificationImages, tmp_path, dict(replays=1, perturbation=dict(eps=EPS))),
        iterations=3,
        optim_wrapper=wrapper,
        extra=[Overflow(), Watch()],
    )
    assert carried == [0, pytest.approx(EPS), pytest.approx(EPS)]


@MODELS
def test_mixed_precision(build, data, tmp_path):
    wrapper = dict(type='AnyDeviceAmpOptimWrapper', dtype='bfloat16', optimizer=dict(type='SGD', lr=0.05))
    model, fed, _ = train(build, data, tmp_path, FREE, optim_wrapper=wrapper)
    assert len(fed) == 9
    assert not any(torch.equal(fed[3 * batch], fed[3 * batch + 1]) for batch in range(3))
    assert all(bool(torch.isfinite(value).all()) for value in model.state_dict().values())


@pytest.mark.parametrize(
    'wrapper',
    [
        dict(type='SAMOptimWrapper', rho=0.1),
        dict(type='AmpASAMOptimWrapper', rho=0.1),
        dict(type='OptimWrapper', accumulative_counts=2),
    ],
    ids=lambda wrapper: wrapper['type'],
)
def test_optimizer_wrappers_with_another_gradient_are_refused(wrapper, tmp_path):
    with pytest.raises(ValueError, match='which must be one backward pass; use an OptimWrapper'):
        train(
            *(classifier, ClassificationImages, tmp_path, FREE),
            optim_wrapper={**wrapper, 'optimizer': dict(type='SGD', lr=0.1)},
        )


@pytest.mark.parametrize(
    ('free', 'message'),
    [
        (dict(replays=0), 'replays must be a whole number of at least 1; got 0'),
        (dict(perturbation=dict(eps=8)), "Did you mean '8/255'"),
        (dict(perturbation=8), r'perturbation must be a dict such as .*; got 8'),
        (dict(perturbation=dict(norm='l0')), 'norm must be one of linf, l2;'),
        (dict(perturbation=dict(step_size=-1)), 'step_size must be a finite number of at least 0'),
        (dict(perturbation=dict(step_size=0)), 'step_size must be greater than 0'),
    ],
)
@pytest.mark.parametrize('length', [dict(iterations=1), dict(epochs=1)], ids=['iterations', 'epochs'])
def test_bad_values_are_refused_before_the_first_iteration(free, message, length, tmp_path):
    with pytest.raises(ValueError, match=message):
        train(classifier, ClassificationImages, tmp_path, free, **length)


def test_batches_without_inputs_are_refused():
    class Run:
        iter = 0

    with pytest.raises(TypeError, match=r"expects batches {'inputs': images"):
        FreePerturbationHook().before_train_iter(Run(), 0, [1])


def test_the_hook_of_former_configs_says_what_to_write_instead():
    with pytest.raises(ValueError, match=r"remove the hook and set train_cfg=dict\(type='FreeIterBasedTrainLoop', max"):
        HOOKS.build(dict(type='FreeAdversarialTrainingHook', replays=8, norm='linf', eps='8/255'))


def test_a_hook_that_perturbs_the_images_as_well_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r'TrainingHook and FreePerturbationHook .*adversarial_training=None'):
        attack = dict(type='AdversarialTrainingHook', attack=dict(type='PGD'))
        train(classifier, ClassificationImages, tmp_path, FREE, extra=[HOOKS.build(attack)])
