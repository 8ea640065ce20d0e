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
    assert_same_state,
    classifier,
    runner,
    segmentor,
    state_of,
)
from mmengine.registry import HOOKS
from torch import distributed, multiprocessing
from torch.nn import functional as F

from samat_mm.engine.hooks import TRADESHook
from samat_mm.perturbations.inputs import PGD

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


def batches(data):
    for first in range(0, 6, 2):
        rows = range(first, first + 2)
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
