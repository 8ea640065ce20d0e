"""TRADES against its loop written out, and with what it has to live with."""

import copy

import pytest
import torch
from helpers import (
    MEAN,
    STD,
    ClassificationImages,
    Recorder,
    SegmentationImages,
    classifier,
    runner,
    segmentor,
    state_of,
)
from mmengine.registry import HOOKS
from torch.nn import functional as F

from samat_mm.engine.hooks import TRADESHook

BETA, EPS, STEP = 6.0, 8 / 255, 4 / 255
ATTACK = dict(type='PGD', norm='linf', eps=EPS, step_size=STEP, steps=2, random_start=False)
SGD = dict(type='SGD', lr=0.1)
SAM = dict(type='SAMOptimWrapper', rho=0.05, optimizer=SGD)
MODELS = pytest.mark.parametrize(
    ('build', 'data'), [(classifier, ClassificationImages), (segmentor, SegmentationImages)], ids=['classes', 'maps']
)


def in_double(build):
    """A rounding error can turn a sign of a gradient, and training amplifies it."""
    return lambda: build().double()


def train(build, data, tmp_path, hook=None, *, name='run', iterations=3, optim_wrapper=None, count=6, extra=(), **more):
    model = build()
    hooks = [*extra, *([] if hook is None else [hook])]
    run = runner(
        model,
        tmp_path / name,
        train=data(count),
        iterations=iterations,
        optim_wrapper=copy.deepcopy(optim_wrapper),
        hooks=hooks,
        **more,
    )
    run.train()
    return model, run


# ------------------------------------------------------------------------------------------------- reference


def normalise(pixels):
    mean, std = (torch.tensor(values).to(pixels).reshape(3, 1, 1) for values in (MEAN, STD))
    return (pixels * 255 - mean) / std


def logits_of(model, pixels):
    if hasattr(model, 'decode_head'):
        small = model.decode_head(model.backbone(normalise(pixels)))
        return F.interpolate(small, pixels.shape[2:], mode='bilinear', align_corners=model.align_corners)
    return model.head(model.neck(model.backbone(normalise(pixels))))


def divergence(clean, other, target):
    """Per image: sum over classes of p (log p - log q), averaged over the labelled pixels."""
    values = F.kl_div(other.log_softmax(1), clean.log_softmax(1), log_target=True, reduction='none').sum(1)
    if values.ndim == 1:
        return values
    return torch.stack([row[label != 255].mean() for row, label in zip(values, target, strict=True)])


def own_loss(logits, target):
    """What the models minimise: mmseg divides by all labelled pixels of the batch."""
    return F.cross_entropy(logits, target, ignore_index=255)


def adversarial(model, pixels, target, start):
    model.eval()
    with torch.no_grad():
        clean = logits_of(model, pixels)
    best, best_loss, current = pixels, torch.full((len(pixels),), -float('inf')).double(), start
    for step in range(3):
        current = current.detach().requires_grad_()
        loss = divergence(clean, logits_of(model, current), target)
        higher = loss > best_loss
        best = torch.where(higher[:, None, None, None], current, best).detach()
        best_loss = torch.maximum(loss, best_loss).detach()
        if step < 2:
            (grad,) = torch.autograd.grad(loss.sum(), current)
            moved = current.detach() + STEP * grad.sign()
            current = torch.minimum(torch.maximum(moved, pixels - EPS), pixels + EPS).clamp(0, 1)
    model.train()
    return best


def loss_of(model, pixels, attacked, target, beta=BETA):
    """The clean loss, then the adversarial batch, then p(clean), which must not count in the statistics again."""
    loss = own_loss(logits_of(model, pixels), target)
    attacked_logits = logits_of(model, attacked)
    twin = copy.deepcopy(model)  # its statistics are its own
    clean = torch.func.functional_call(_Logits(twin), {f'model.{k}': v for k, v in model.named_parameters()}, pixels)
    return loss + beta * divergence(clean, attacked_logits, target).mean()


class _Logits(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pixels):
        return logits_of(self.model, pixels)


def batches(data, order=range(6)):
    for first in range(0, 6, 2):
        rows = order[first : first + 2]
        pixels = torch.stack([data.raw[row].flip(0) for row in rows]).double() / 255
        labels = [torch.as_tensor(data.labels[row]) for row in rows]
        yield pixels, torch.stack(labels)


class Starts:
    """Keeps the start of each attack, which is random."""

    def __init__(self, monkeypatch):
        from samat_mm.perturbations.inputs.divergence import DivergenceAttack

        self.images, near = [], DivergenceAttack._near_the_image

        def keep(attack, region, indices, restart):
            self.images.append(near(attack, region, indices, restart))
            return self.images[-1]

        monkeypatch.setattr(DivergenceAttack, '_near_the_image', keep)


@MODELS
@pytest.mark.parametrize('rho', [0, 0.05], ids=['sgd', 'sam'])
def test_three_steps_are_those_of_the_loop_written_out(build, data, rho, tmp_path, monkeypatch):
    """With SAM: the same two terms and the same images at w and at w + e, and the statistics of w alone."""
    starts = Starts(monkeypatch)
    trained, _ = train(in_double(build), data, tmp_path, TRADESHook(BETA, ATTACK), optim_wrapper=SAM if rho else None)
    model = in_double(build)().train()
    parameters = list(model.parameters())
    for (pixels, target), start in zip(batches(data(6)), starts.images, strict=True):
        offset = (start - pixels).std()
        assert 0.0009 < float(offset) < 0.0011
        attacked = adversarial(model, pixels, target, start)
        grads = torch.autograd.grad(loss_of(model, pixels, attacked, target), parameters, allow_unused=True)
        grads = [torch.zeros_like(w) if g is None else g for w, g in zip(parameters, grads, strict=True)]
        if rho:
            norm = torch.stack([grad.norm() for grad in grads]).norm()
            elsewhere = copy.deepcopy(model)
            with torch.no_grad():
                for weight, grad in zip(elsewhere.parameters(), grads, strict=True):
                    weight += rho * grad / norm
            loss = loss_of(elsewhere, pixels, attacked, target)
            grads = torch.autograd.grad(loss, list(elsewhere.parameters()), allow_unused=True)
        with torch.no_grad():
            for weight, grad in zip(parameters, grads, strict=True):
                if grad is not None:
                    weight -= 0.1 * grad
    for key, value in model.state_dict().items():
        torch.testing.assert_close(trained.state_dict()[key], value, rtol=1e-5, atol=1e-8)
    plain, _ = train(in_double(build), data, tmp_path, name='plain', optim_wrapper=SAM if rho else None)
    key = 'backbone.conv1.weight' if hasattr(model.backbone, 'conv1') else 'backbone.stem.0.weight'
    assert (trained.state_dict()[key] - plain.state_dict()[key]).norm() > 1e-4  # the term matters


# -------------------------------------------------------------------------------------------- invariants


class Fed(Recorder):
    """Keeps the adversarial images of each iteration as well, and what is logged."""

    def __init__(self, hook):
        super().__init__()
        self.hook, self.adversarial, self.logged = hook, [], []
        add = hook._add_divergence

        def keep(model, args, kwargs, losses):
            if kwargs.get('mode') == 'loss':
                self.adversarial.append(torch.stack(list(hook._adversarial.values())))
            return add(model, args, kwargs, losses)

        hook._add_divergence = keep

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.logged.append({key: float(value.detach()) for key, value in outputs.items()})


@MODELS
@pytest.mark.parametrize('optim_wrapper', [None, SAM], ids=['sgd', 'sam'])
def test_statistics_see_the_clean_batch_and_the_adversarial_one_once_each(build, data, optim_wrapper, tmp_path):
    trained, _ = train(build, data, tmp_path, TRADESHook(BETA, ATTACK), iterations=2, optim_wrapper=optim_wrapper)
    before, after = (
        {key: int(value) for key, value in model.state_dict().items() if key.endswith('num_batches_tracked')}
        for model in (build(), trained)
    )
    assert {after[key] - before[key] for key in before} == {4}


@MODELS
def test_images_stay_in_the_ball_and_the_sum_is_logged(build, data, tmp_path):
    hook = TRADESHook(BETA, ATTACK)
    fed = Fed(hook)
    train(build, data, tmp_path, hook, extra=[fed])
    assert len(fed.inputs) == 9  # the clean batch, the adversarial one, the clean one again
    std = torch.tensor(STD).reshape(3, 1, 1) / 255
    for iteration in range(3):
        clean, attacked, again = fed.inputs[3 * iteration : 3 * iteration + 3]
        assert torch.equal(clean, again)
        assert STEP < float(((attacked - clean) * std).abs().max()) <= EPS * (1 + 1e-4)
        logged = fed.logged[iteration]
        if build is segmentor:  # a classifier's own loss is called 'loss', which MMEngine then logs for the sum
            assert logged['loss'] == pytest.approx(logged['decode.loss_ce'] + logged['loss_trades'], rel=1e-5)
        assert logged['loss_trades'] > 0


@MODELS
@pytest.mark.parametrize('wrapper', ['SAMOptimWrapper', 'AmpSAMOptimWrapper'])
def test_with_sam_both_passes_see_the_same_two_batches(build, data, wrapper, tmp_path):
    hook = TRADESHook(BETA, ATTACK)
    fed = Fed(hook)
    sam = {**SAM, 'type': wrapper, **({'dtype': 'bfloat16'} if 'Amp' in wrapper else {})}
    train(build, data, tmp_path, hook, extra=[fed], optim_wrapper=sam, iterations=2)
    assert len(fed.inputs) == 12
    for iteration in range(2):
        first, second = fed.inputs[6 * iteration : 6 * iteration + 3], fed.inputs[6 * iteration + 3 : 6 * iteration + 6]
        assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
        assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize(
    'perturbation',
    [dict(type='ESAM', rho=0.05), dict(type='LookSAM', rho=0.05, interval=2), dict(type='AWP', rho=0.01)],
    ids=lambda perturbation: perturbation['type'],
)
def test_a_pass_on_some_samples_has_their_adversarial_images(perturbation, tmp_path):
    hook, sizes = TRADESHook(BETA, ATTACK), []
    model_runs = Fed(hook)
    train(
        classifier,
        ClassificationImages,
        tmp_path,
        hook,
        extra=[model_runs],
        count=12,
        batch_size=4,
        optim_wrapper=dict(type='SAMOptimWrapper', perturbation=perturbation, optimizer=SGD),
    )
    std = torch.tensor(STD).reshape(3, 1, 1) / 255
    passes = iter(model_runs.inputs)
    for clean, attacked, again in zip(passes, passes, passes, strict=True):
        sizes.append(len(clean))
        assert torch.equal(clean, again)
        assert float(((attacked - clean) * std).abs().max()) <= EPS * (1 + 1e-4)
    assert sizes == {'ESAM': [4, 4, 2] * 3, 'LookSAM': [4, 4, 4, 4, 4], 'AWP': [4] * 6}[perturbation['type']]


@MODELS
def test_without_weight_it_is_plain_training(build, data, tmp_path):
    """But for the statistics, which see the adversarial batch too and have no part in a training step."""
    plain, _ = train(build, data, tmp_path, name='plain')
    zero, _ = train(build, data, tmp_path, TRADESHook(0, ATTACK))
    for ours, theirs in zip(zero.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_labels_of_a_segmentor_matter_only_where_they_are_ignored(tmp_path):
    """Unlabelled pixels have no part in the divergence, and images of nothing else none at all."""
    from samat_mm.perturbations.inputs.objectives.kullback_leibler import KullbackLeibler

    numbers = torch.Generator().manual_seed(0)
    clean, other = torch.randn(2, 3, 4, 5, 5, generator=numbers).unbind(0)
    target = torch.randint(4, (3, 5, 5), generator=numbers)
    target[0, :, 2:], target[1] = 255, 255
    expected = F.kl_div(other.log_softmax(1), clean.softmax(1), reduction='none').sum(1)
    found = KullbackLeibler(clean)(other, target, 0, 1)
    torch.testing.assert_close(found, torch.stack([expected[0, :, :2].mean(), torch.tensor(0.0), expected[2].mean()]))
    shuffled = torch.where(target == 255, target, (target + 1) % 4)
    assert torch.equal(found, KullbackLeibler(clean)(other, shuffled, 0, 1))
    with pytest.raises(ValueError, match='needs a target'):
        KullbackLeibler(clean)(other, None, 0, 1)


def test_certain_predictions_have_finite_gradients():
    from samat_mm.perturbations.inputs.objectives.kullback_leibler import KullbackLeibler

    clean = torch.tensor([[1e4, 0.0, -1e4]], requires_grad=True)
    other = torch.tensor([[0.0, 1e4, 0.0]], requires_grad=True)
    KullbackLeibler(clean)(other, torch.tensor([0]), 0, 1).sum().backward()
    assert bool(torch.isfinite(clean.grad).all()) and bool(torch.isfinite(other.grad).all())


def test_gradient_accumulation_crafts_every_micro_batch(tmp_path):
    hook = TRADESHook(BETA, ATTACK)
    fed = Fed(hook)
    wrapper = dict(type='OptimWrapper', optimizer=SGD, accumulative_counts=2)
    start = state_of(classifier())
    model, _ = train(classifier, ClassificationImages, tmp_path, hook, extra=[fed], iterations=2, optim_wrapper=wrapper)
    first, second = fed.adversarial
    assert not torch.equal(first, second)
    assert not torch.equal(model.head.fc.weight, start['head.fc.weight'])


@pytest.mark.parametrize('craft_dtype', [None, 'float32', 'bfloat16'])
def test_the_attack_in_a_precision_of_its_own(craft_dtype, tmp_path):
    hook = TRADESHook(BETA, ATTACK, craft_dtype)
    fed = Fed(hook)
    train(segmentor, SegmentationImages, tmp_path, hook, extra=[fed], iterations=1)
    divergence_found = fed.logged[0]['loss_trades']
    reference = TRADESHook(BETA, ATTACK, 'float32')
    other = Fed(reference)
    train(segmentor, SegmentationImages, tmp_path, reference, extra=[other], iterations=1, name='float32')
    assert divergence_found > 0.7 * other.logged[0]['loss_trades'] > 0


def test_validation_is_on_clean_images_and_the_hook_is_gone_after_training(tmp_path):
    hook, data = TRADESHook(BETA, ATTACK), ClassificationImages(4)
    fed = Fed(hook)
    model, _ = train(
        classifier,
        ClassificationImages,
        tmp_path,
        hook,
        extra=[fed],
        count=4,
        iterations=2,
        val_interval=1,
        evaluate=data,
    )
    assert len(fed.inputs) == 6
    batch = {'inputs': data.raw, 'data_samples': [data[index]['data_samples'] for index in range(4)]}
    assert 'loss_trades' not in model(**model.data_preprocessor(batch, True), mode='loss')


# ----------------------------------------------------------------------------------------------- bad values


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        (dict(beta=-1), 'beta must be a finite number of at least 0; got -1'),
        (dict(attack=dict(type='SegPGD')), 'by PGD with the default objective and goal; got SegPGD'),
        (dict(attack=dict(type='PGD', objective='dlr')), 'by PGD with the default objective'),
        (dict(attack=dict(type='APGD')), 'by PGD with the default objective'),
        (dict(attack=dict(type='PGD', eps=8)), "Did you mean '8/255'"),
        (dict(craft_dtype='float16'), 'craft_dtype must be one of float32, bfloat16'),
    ],
)
def test_bad_values_are_refused_when_the_config_is_built(values, message):
    with pytest.raises(ValueError, match=message):
        HOOKS.build(dict(type='TRADESHook', **values))


def test_the_defaults_are_the_published_ones():
    hook = HOOKS.build(dict(type='TRADESHook'))
    assert hook.beta == 6
    described = hook.attack.describe()
    assert (described['eps'], described['step_size'], described['steps']) == pytest.approx((8 / 255, 2 / 255, 10))
