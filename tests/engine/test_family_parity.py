"""Every method of the family against a hand-written loop over one flat vector, from the equations of the papers."""

import copy
import functools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from torch import Tensor, nn
from torch.nn import functional as F

from samat_mm.registry import WEIGHT_PERTURBATIONS

STEPS = 12
LAST_RATE = 0.1  # the learning rate falls linearly to this share of the first
OPTIMIZERS = {
    'sgd': dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=1e-2),
    'adam': dict(type='Adam', lr=1e-3, weight_decay=1e-2),
}


class Problem:
    """A model whose weights, gradients and perturbations are single vectors."""

    def __init__(self, model: BaseModel, optimizer: dict) -> None:
        settings = dict(optimizer)
        self.model = model
        self.names = [name for name, _ in model.named_parameters()]
        self.parameters = list(model.parameters())
        self.optimizer = getattr(torch.optim, settings.pop('type'))(self.parameters, **settings)
        self.first_rate = self.rate = settings['lr']

    def batches(self, batches: list[dict]) -> Iterator[dict]:
        """Give one batch after the other, and the optimizer the learning rate of each."""
        for step, batch in enumerate(batches):
            self.rate = self.first_rate * (1 + (LAST_RATE - 1) * step / (len(batches) - 1))
            self.optimizer.param_groups[0]['lr'] = self.rate
            yield batch

    def weights(self) -> Tensor:
        return flat(self.parameters).detach()

    def pieces(self, vector: Tensor) -> list[Tensor]:
        parts = vector.split([parameter.numel() for parameter in self.parameters])
        return [part.view(parameter.shape) for part, parameter in zip(parts, self.parameters, strict=True)]

    def put(self, weights: Tensor) -> None:
        with torch.no_grad():
            for parameter, value in zip(self.parameters, self.pieces(weights), strict=True):
                parameter.copy_(value)

    @contextmanager
    def at(self, offset: Tensor) -> Iterator[None]:
        """Be at the weights plus an offset, where running statistics are left alone."""
        start = self.weights()
        layers = [layer for layer in self.model.modules() if isinstance(layer, nn.BatchNorm2d) and layer.training]
        self.put(start + offset)
        for layer in layers:
            layer.track_running_stats = False
        try:
            yield
        finally:
            for layer in layers:
                layer.track_running_stats = True
            self.put(start)

    def derivative(self, loss: Tensor, retain_graph: bool = False) -> Tensor:
        return flat(list(torch.autograd.grad(loss, self.parameters, retain_graph=retain_graph)))

    def first_gradient(self, batch: dict) -> Tensor:
        return self.derivative(loss_of(self.model, batch))

    def gradient_at(self, offset: Tensor, batch: dict) -> Tensor:
        with self.at(offset):
            return self.derivative(loss_of(self.model, batch))

    def descend(self, gradient: Tensor) -> None:
        for parameter, part in zip(self.parameters, self.pieces(gradient), strict=True):
            parameter.grad = part.clone()
        self.optimizer.step()


def flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def loss_of(model: BaseModel, batch: dict) -> Tensor:
    losses = model(**model.data_preprocessor(copy.deepcopy(batch), True), mode='loss')
    return sum(value.mean() for name, value in losses.items() if 'loss' in name)


def sample_losses_of(model: BaseModel, batch: dict) -> Tensor:
    """Cross entropy of each image from the logits, such that the mean is the loss of the batch."""
    data = model.data_preprocessor(copy.deepcopy(batch), True)
    if not hasattr(model, 'decode_head'):
        logits = model.head(model.extract_feat(data['inputs']))
        return F.cross_entropy(
            logits, torch.cat([sample.gt_label for sample in data['data_samples']]), reduction='none'
        )
    labels = torch.stack([sample.gt_sem_seg.data[0] for sample in data['data_samples']])
    logits = model.decode_head(model.extract_feat(data['inputs']))
    logits = F.interpolate(logits, labels.shape[1:], mode='bilinear', align_corners=False)
    sums = F.cross_entropy(logits, labels, ignore_index=255, reduction='none').sum((1, 2))
    only_labelled = model.decode_head.loss_decode.avg_non_ignore
    pixels = (labels != 255).sum() if only_labelled else torch.tensor(labels.numel())
    return sums * len(labels) / pixels


def picked(batch: dict, indices: list[int]) -> dict:
    """The same batch with some of its samples."""
    return {key: [values[index] for index in indices] for key, values in batch.items()}


# Directions: the offset in the ball of radius 1

Direction = Callable[[Problem, Tensor, dict], Tensor]


def sam_direction(problem: Problem, gradient: Tensor, batch: dict) -> Tensor:
    return gradient / gradient.norm()


def asam_direction(eta: float = 0.01, everywhere: bool = False) -> Direction:
    def direction(problem: Problem, gradient: Tensor, batch: dict) -> Tensor:
        scale = flat(
            [
                weight.detach().abs() + eta if everywhere or name.endswith('.weight') else torch.ones_like(weight)
                for name, weight in zip(problem.names, problem.parameters, strict=True)
            ]
        )
        return scale**2 * gradient / (scale * gradient).norm()

    return direction


def fisher_direction(eta: float) -> Direction:
    def direction(problem: Problem, gradient: Tensor, batch: dict) -> Tensor:
        inverse = 1 / (1 + eta * gradient**2)
        return inverse * gradient / torch.sqrt(gradient @ (inverse * gradient))

    return direction


def norm_layers_direction(inner: Direction) -> Direction:
    def direction(problem: Problem, gradient: Tensor, batch: dict) -> Tensor:
        layers = {name for name, module in problem.model.named_modules() if isinstance(module, nn.BatchNorm2d)}
        pieces = zip(problem.names, problem.pieces(gradient), strict=True)
        kept = [piece * (name.rpartition('.')[0] in layers) for name, piece in pieces]
        return inner(problem, flat(kept), batch)

    return direction


def friendly_direction(sigma: float = 1.0, momentum: float = 0.9, inner: Direction = sam_direction) -> Direction:
    """The average starts at the first gradient, and what is subtracted is the one that the batch has no part in."""
    averages: list[Tensor] = []

    def direction(problem: Problem, gradient: Tensor, batch: dict) -> Tensor:
        if not averages:
            averages.append(gradient)
            return inner(problem, gradient, batch)
        averages.append(momentum * averages[-1] + (1 - momentum) * gradient)
        return inner(problem, gradient - sigma * averages[-2], batch)

    return direction


def random_tensors_direction(beta: float, seed: int = 0, inner: Direction = sam_direction) -> Direction:
    numbers = torch.Generator().manual_seed(seed)

    def direction(problem: Problem, gradient: Tensor, batch: dict) -> Tensor:
        draws = torch.rand(len(problem.names), generator=numbers)
        drawn = (draws < beta) if bool((draws < beta).any()) else draws == draws.min()
        kept = [piece * bool(drawn[index]) for index, piece in enumerate(problem.pieces(gradient))]
        return inner(problem, flat(kept), batch) / beta

    return direction


def random_coordinates_direction(beta: float, seed: int = 0, inner: Direction = sam_direction) -> Direction:
    numbers = torch.Generator().manual_seed(seed)

    def direction(problem: Problem, gradient: Tensor, batch: dict) -> Tensor:
        mask = flat([torch.rand(parameter.shape, generator=numbers) < beta for parameter in problem.parameters])
        return mask * inner(problem, gradient, batch) / beta

    return direction


def top(scores: Tensor, count: int) -> Tensor:
    mask = torch.zeros(len(scores), dtype=torch.bool)
    mask[scores.argsort(descending=True)[:count]] = True
    return mask


def fisher_mask_direction(sparsity: float, samples: int, interval: int, inner: Direction = sam_direction) -> Direction:
    """The mask of SSAM-F, from gradients of single samples (of whole batches for a model without sample losses)."""
    state: dict[str, Any] = dict(step=0, wanted=0, mask=None)

    def squares(problem: Problem, gradient: Tensor, batch: dict) -> Tensor:
        if not hasattr(problem.model, 'backbone'):
            state['wanted'] -= 1
            return gradient**2
        with problem.at(torch.zeros_like(gradient)):
            losses = sample_losses_of(problem.model, batch)[: state['wanted']]
            state['wanted'] -= len(losses)
            return sum(problem.derivative(loss, retain_graph=True) ** 2 for loss in losses)

    def direction(problem: Problem, gradient: Tensor, batch: dict) -> Tensor:
        if state['step'] % interval == 0 and not state['wanted']:
            state.update(wanted=samples, fisher=torch.zeros_like(gradient))
        if state['wanted']:
            state['fisher'] += squares(problem, gradient, batch)
            if not state['wanted']:
                state['mask'] = top(state['fisher'], round((1 - sparsity) * len(gradient)))
        state['step'] += 1
        mask = torch.ones_like(gradient) if state['mask'] is None else state['mask']
        return mask * inner(problem, gradient, batch)

    return direction


def dynamic_mask_direction(
    sparsity: float, drop_rate: float, interval: int, decay: int | None = None, seed: int = 0
) -> Direction:
    """The mask of SSAM-D: drop those with the smallest gradients, grow at random elsewhere."""
    numbers = torch.Generator().manual_seed(seed)
    state: dict[str, Any] = dict(step=0)

    def direction(problem: Problem, gradient: Tensor, batch: dict) -> Tensor:
        step = state['step']
        if step % interval == 0:
            draws = flat([torch.rand(parameter.shape, generator=numbers) for parameter in problem.parameters])
            if step == 0:
                state['mask'] = top(draws, round((1 - sparsity) * len(gradient)))
            else:
                mask = state['mask']
                alive = int(mask.sum())
                rate = drop_rate * (0.5 + 0.5 * math.cos(math.pi * min(step / decay, 1))) if decay else drop_rate
                dropped = min(math.floor(alive * rate), len(mask) - alive)
                kept = top(gradient.abs().masked_fill(~mask, -1), alive - dropped)
                state['mask'] = kept | top(draws.masked_fill(mask, -1), dropped)
        state['step'] += 1
        return state['mask'] * gradient / gradient.norm()

    return direction


# Training loops

Loop = Callable[[Problem, list[dict]], None]


def ascend_and_descend(rho: float, direction: Direction = sam_direction) -> Loop:
    def train(problem: Problem, batches: list[dict]) -> None:
        for batch in problem.batches(batches):
            offset = rho * direction(problem, problem.first_gradient(batch), batch)
            problem.descend(problem.gradient_at(offset, batch))

    return train


def plain_loop(problem: Problem, batches: list[dict]) -> None:
    for batch in problem.batches(batches):
        problem.descend(problem.first_gradient(batch))


def esam_loop(rho: float, gamma: float, selection: str, direction: Direction) -> Loop:
    def select(problem: Problem, offset: Tensor, batch: dict) -> list[int]:
        with problem.at(torch.zeros_like(offset)):
            scores = sample_losses_of(problem.model, batch)
        if selection == 'forward':
            with problem.at(offset):
                scores = sample_losses_of(problem.model, batch) - scores
        count = max(2, round(gamma * len(scores)))
        return sorted(sorted(range(len(scores)), key=lambda index: -float(scores[index].detach()))[:count])

    def train(problem: Problem, batches: list[dict]) -> None:
        for batch in problem.batches(batches):
            offset = rho * direction(problem, problem.first_gradient(batch), batch)
            if hasattr(problem.model, 'backbone') and gamma < 1:
                chosen = select(problem, offset, batch)
                assert 2 <= len(chosen) < len(batch['inputs'])
                batch = picked(batch, chosen)
            problem.descend(problem.gradient_at(offset, batch))

    return train


def looksam_loop(rho: float, interval: int, alpha: float, direction: Direction = sam_direction) -> Loop:
    def train(problem: Problem, batches: list[dict]) -> None:
        for step, batch in enumerate(problem.batches(batches)):
            g = problem.first_gradient(batch)
            if step % interval == 0:
                sharp = problem.gradient_at(rho * direction(problem, g, batch), batch)
                cosine = (g @ sharp) / (g.norm() * sharp.norm())
                v = sharp - sharp.norm() * cosine * g / g.norm()
                problem.descend(sharp)
            else:
                problem.descend(g + alpha * g.norm() / v.norm() * v)

    return train


def gsam_loop(rho: float, rho_min: float, alpha: float, direction: Direction = sam_direction) -> Loop:
    def train(problem: Problem, batches: list[dict]) -> None:
        for batch in problem.batches(batches):
            radius = rho_min + (rho - rho_min) * problem.rate / problem.first_rate
            g = problem.first_gradient(batch)
            sharp = problem.gradient_at(radius * direction(problem, g, batch), batch)
            unit = sharp / sharp.norm()
            problem.descend(sharp - alpha * (g - (g @ unit) * unit))

    return train


def wsam_loop(rho: float, gamma: float, form: str, direction: Direction = sam_direction) -> Loop:
    def train(problem: Problem, batches: list[dict]) -> None:
        weight = gamma / (1 - gamma)
        for batch in problem.batches(batches):
            g = problem.first_gradient(batch)
            sharp = problem.gradient_at(rho * direction(problem, g, batch), batch)
            if form == 'coupled':
                problem.descend((1 - weight) * g + weight * sharp)
            else:
                problem.descend(g)
                problem.put(problem.weights() - problem.rate * weight * (sharp - g))

    return train


def awp_loop(rho: float) -> Loop:
    def train(problem: Problem, batches: list[dict]) -> None:
        for batch in problem.batches(batches):
            gradients = problem.pieces(problem.first_gradient(batch))
            offset = flat(
                [
                    rho * weight.detach().norm() * g / g.norm() if weight.ndim > 1 else torch.zeros_like(g)
                    for weight, g in zip(problem.parameters, gradients, strict=True)
                ]
            )
            sharp = problem.gradient_at(offset, batch)
            problem.put(problem.weights() + offset)
            problem.descend(sharp)  # weight decay sees the perturbed weights
            problem.put(problem.weights() - offset)

    return train


def several_ascents_loop(rho: float, steps: int) -> Loop:
    """Each ascent takes the gradient where the last one led, and goes to the edge of the ball around the weights."""

    def train(problem: Problem, batches: list[dict]) -> None:
        for batch in problem.batches(batches):
            gradient = problem.first_gradient(batch)
            for _ in range(steps):
                offset = rho * gradient / gradient.norm()
                gradient = problem.gradient_at(offset, batch)
            problem.descend(gradient)

    return train


def one_gradient_loop(rho: float, follow: Callable[[Problem, Tensor, Tensor | None], tuple[Tensor, Tensor]]) -> Loop:
    """The one forward of a step, running statistics included, is at an offset that is known before it.

    ``follow`` returns what the next step knows, and the vector along which it moves.
    """

    def train(problem: Problem, batches: list[dict]) -> None:
        known: Tensor | None = None
        vector = torch.zeros(())
        for batch in problem.batches(batches):
            start = problem.weights()
            if known is not None:
                problem.put(start + rho * vector / vector.norm())
            gradient = problem.first_gradient(batch)
            problem.put(start)
            known, vector = follow(problem, gradient, known)
            problem.descend(gradient)

    return train


def momentum(problem: Problem, gradient: Tensor, known: Tensor | None) -> tuple[Tensor, Tensor]:
    """Of torch's SGD and Adam, whose weight decay is part of the gradient."""
    full = gradient + 1e-2 * problem.weights()
    if isinstance(problem.optimizer, torch.optim.Adam):
        buffer = 0.1 * full if known is None else 0.9 * known + 0.1 * full
    else:
        buffer = full if known is None else 0.9 * known + full
    return buffer, -buffer


def gradient_before(problem: Problem, gradient: Tensor, known: Tensor | None) -> tuple[Tensor, Tensor]:
    return gradient, gradient


Case = tuple[dict, Callable[[], Loop]]

# The published defaults of every method, for all models (SSAM's masks come so often that there are some).
DEFAULTS: dict[str, Case] = {
    'sam': (dict(type='SAM'), lambda: ascend_and_descend(0.05)),
    'asam': (dict(type='ASAM'), lambda: ascend_and_descend(0.5, asam_direction())),
    'esam': (dict(type='ESAM'), lambda: esam_loop(0.05, 0.5, 'forward', random_tensors_direction(0.6))),
    'looksam': (dict(type='LookSAM'), lambda: looksam_loop(0.05, 5, 0.7)),
    'ssam-f': (
        dict(type='SSAMF', samples=9, update_interval=4),
        lambda: ascend_and_descend(0.05, fisher_mask_direction(0.5, samples=9, interval=4)),
    ),
    'ssam-d': (
        dict(type='SSAMD', update_interval=3),
        lambda: ascend_and_descend(0.05, dynamic_mask_direction(0.5, 0.5, interval=3)),
    ),
    'fisher-sam': (dict(type='FisherSAM'), lambda: ascend_and_descend(0.1, fisher_direction(1))),
    'sam-on': (dict(type='SAMON'), lambda: ascend_and_descend(5.0, norm_layers_direction(asam_direction()))),
    'gsam': (dict(type='GSAM'), lambda: gsam_loop(0.04, 0.02, 0.01)),
    'friendly-sam': (dict(type='FriendlySAM'), lambda: ascend_and_descend(0.05, friendly_direction())),
    'wsam': (dict(type='WSAM', gamma=0.8), lambda: wsam_loop(0.05, 0.8, 'decoupled')),
    'awp': (dict(type='AWP'), lambda: awp_loop(0.005)),
    'msam': (dict(type='MSAM'), lambda: one_gradient_loop(0.05, momentum)),
    'stale sam': (dict(type='StaleSAM'), lambda: one_gradient_loop(0.05, gradient_before)),
}

# Other settings and compositions, for the small model.
OTHERS: dict[str, Case] = {
    'esam of one tensor': (
        dict(type='ESAM', rho=0.2, beta=0.05, gamma=1, seed=3),
        lambda: ascend_and_descend(0.2, random_tensors_direction(0.05, seed=3)),
    ),
    'esam of coordinates': (
        dict(type='ESAM', rho=0.2, beta=0.3, gamma=1, mask='coordinates', seed=7),
        lambda: ascend_and_descend(0.2, random_coordinates_direction(0.3, seed=7)),
    ),
    'esam of all weights': (dict(type='ESAM', rho=0.2, beta=1, gamma=1), lambda: ascend_and_descend(0.2)),
    'esam over asam': (
        dict(type='ESAM', gamma=1, direction=dict(type='ASAM', eta=0.1)),
        lambda: ascend_and_descend(0.5, random_tensors_direction(0.6, inner=asam_direction(0.1))),
    ),
    'looksam 3': (dict(type='LookSAM', rho=0.2, interval=3, alpha=0.4), lambda: looksam_loop(0.2, 3, 0.4)),
    'looksam 1': (dict(type='LookSAM', rho=0.2, interval=1), lambda: ascend_and_descend(0.2)),
    'looksam over asam': (
        dict(type='LookSAM', interval=3, direction=dict(type='ASAM')),
        lambda: looksam_loop(0.5, 3, 0.7, asam_direction()),
    ),
    'ssam-f sparse': (
        dict(type='SSAMF', rho=0.2, sparsity=0.9, samples=2, update_interval=5),
        lambda: ascend_and_descend(0.2, fisher_mask_direction(0.9, samples=2, interval=5)),
    ),
    'ssam-f dense': (dict(type='SSAMF', rho=0.2, sparsity=0, samples=1), lambda: ascend_and_descend(0.2)),
    'ssam-f over asam': (
        dict(type='SSAMF', samples=3, update_interval=4, direction=dict(type='ASAM')),
        lambda: ascend_and_descend(0.5, fisher_mask_direction(0.5, 3, 4, inner=asam_direction())),
    ),
    'ssam-d decaying': (
        dict(type='SSAMD', rho=0.2, sparsity=0.7, drop_rate=0.9, update_interval=2, decay_ascents=9, seed=5),
        lambda: ascend_and_descend(0.2, dynamic_mask_direction(0.7, 0.9, interval=2, decay=9, seed=5)),
    ),
    'fisher-sam 30': (dict(type='FisherSAM', rho=0.3, eta=30), lambda: ascend_and_descend(0.3, fisher_direction(30))),
    'sam-on over sam': (
        dict(type='SAMON', direction=dict(type='SAM')),
        lambda: ascend_and_descend(0.5, norm_layers_direction(sam_direction)),
    ),
    'sam-on over friendly sam': (
        dict(type='SAMON', rho=0.3, direction=dict(type='FriendlySAM', sigma=0.5)),
        lambda: ascend_and_descend(0.3, norm_layers_direction(friendly_direction(0.5))),
    ),
    'gsam strong': (dict(type='GSAM', rho=0.4, rho_min=0.1, alpha=0.6), lambda: gsam_loop(0.4, 0.1, 0.6)),
    'gsam over asam': (
        dict(type='GSAM', rho=0.5, rho_min=0.2, alpha=0.3, direction=dict(type='ASAM', scaled='all')),
        lambda: gsam_loop(0.5, 0.2, 0.3, asam_direction(everywhere=True)),
    ),
    'friendly-sam short': (
        dict(type='FriendlySAM', rho=0.2, sigma=0.7, momentum=0.5),
        lambda: ascend_and_descend(0.2, friendly_direction(0.7, 0.5)),
    ),
    'friendly-sam over asam': (
        dict(type='FriendlySAM', direction=dict(type='ASAM')),
        lambda: ascend_and_descend(0.5, friendly_direction(inner=asam_direction())),
    ),
    'wsam coupled': (
        dict(type='WSAM', rho=0.2, gamma=0.4, form='coupled'),
        lambda: wsam_loop(0.2, 0.4, 'coupled'),
    ),
    'wsam decoupled': (dict(type='WSAM', rho=0.2, gamma=0.6), lambda: wsam_loop(0.2, 0.6, 'decoupled')),
    'wsam over asam': (
        dict(type='WSAM', gamma=0.6, form='coupled', direction=dict(type='ASAM')),
        lambda: wsam_loop(0.5, 0.6, 'coupled', asam_direction()),
    ),
    'awp strong': (dict(type='AWP', rho=0.1), lambda: awp_loop(0.1)),
    'sam of three ascents': (dict(type='SAM', rho=0.3, steps=3), lambda: several_ascents_loop(0.3, 3)),
    'msam far': (dict(type='MSAM', rho=0.4), lambda: one_gradient_loop(0.4, momentum)),
}

# What needs the loss of each sample.
SELECTIONS: dict[str, Case] = {
    'esam by loss': (
        dict(type='ESAM', rho=0.1, gamma=0.75, selection='loss', seed=1),
        lambda: esam_loop(0.1, 0.75, 'loss', random_tensors_direction(0.6, seed=1)),
    ),
    'esam of coordinates by rise': (
        dict(type='ESAM', rho=0.1, beta=0.5, mask='coordinates', seed=1),
        lambda: esam_loop(0.1, 0.5, 'forward', random_coordinates_direction(0.5, seed=1)),
    ),
    'esam of two samples': (
        dict(type='ESAM', rho=0.1, gamma=0.1),
        lambda: esam_loop(0.1, 0.1, 'forward', random_tensors_direction(0.6)),
    ),
}


def made(training_case: Callable, kind: str) -> tuple[BaseModel, list[dict]]:
    """One block per stage of the backbone, which halves the time; a seventh of the pixels without a label."""
    model, batches = training_case(kind.partition(' ')[0], STEPS)
    for stage in getattr(model, 'backbone', nn.Module()).__dict__.get('res_layers', []):
        del getattr(model.backbone, stage)[1]
    if hasattr(model, 'decode_head'):
        model.decode_head.loss_decode.avg_non_ignore = kind != 'segmentor of all pixels'
        for step, batch in enumerate(batches):
            for index, sample in enumerate(batch['data_samples']):
                sample.gt_sem_seg.data.view(-1)[: 40 * (index + step % 3)] = 255
    return model, batches


def trained(model: BaseModel, batches: list[dict], perturbation: dict, optimizer: dict, **options: Any) -> BaseModel:
    wrapper = build_optim_wrapper(
        model, dict(type='SAMOptimWrapper', optimizer=dict(optimizer), perturbation=perturbation, **options)
    )
    scheduler = PARAM_SCHEDULERS.build(
        dict(type='LinearLR', start_factor=1, end_factor=LAST_RATE, end=STEPS, by_epoch=False),
        default_args=dict(optimizer=wrapper),
    )
    for batch in batches:
        model.train_step(copy.deepcopy(batch), wrapper)
        scheduler.step()
    return model


def largest_difference(model: nn.Module, reference: nn.Module) -> float:
    """Relative for entries above 1, absolute for others."""
    pairs = zip(model.state_dict().values(), reference.state_dict().values(), strict=True)
    return max(float(((a - b).abs() / b.abs().clamp(min=1)).max()) for a, b in pairs)


@functools.cache
def trained_plainly(training_case: Callable, kind: str, optimizer: str) -> BaseModel:
    model, batches = made(training_case, kind)
    plain_loop(Problem(model, OPTIMIZERS[optimizer]), batches)
    return model


def check(training_case: Callable, kind: str, case: Case, optimizer: str) -> None:
    perturbation, loop = case
    model, batches = made(training_case, kind)
    reference = copy.deepcopy(model)
    trained(model, batches, copy.deepcopy(perturbation), OPTIMIZERS[optimizer])
    loop()(Problem(reference, OPTIMIZERS[optimizer]), batches)
    assert largest_difference(model, reference) < 1e-9
    # ... and a wrong direction could not pass for rounding
    assert largest_difference(model, trained_plainly(training_case, kind, optimizer)) > 1e-5


def test_every_registered_method_has_a_reference() -> None:
    assert {perturbation['type'] for perturbation, _ in DEFAULTS.values()} == set(WEIGHT_PERTURBATIONS.module_dict)


@pytest.mark.parametrize(
    ('kind', 'name'),
    [(kind, name) for kind in ('plain', 'segmentor', 'classifier') for name in DEFAULTS],
)
def test_twelve_steps_of_every_method_equal_a_hand_written_loop(training_case: Callable, kind: str, name: str) -> None:
    check(training_case, kind, DEFAULTS[name], 'sgd')


@pytest.mark.parametrize('name', DEFAULTS)
def test_twelve_steps_with_adam_equal_a_hand_written_loop(training_case: Callable, name: str) -> None:
    check(training_case, 'plain', DEFAULTS[name], 'adam')


@pytest.mark.parametrize('name', OTHERS)
def test_other_settings_and_compositions_equal_a_hand_written_loop(training_case: Callable, name: str) -> None:
    check(training_case, 'plain', OTHERS[name], 'sgd')


@pytest.mark.parametrize(
    ('kind', 'name'),
    [
        ('classifier', 'esam by loss'),
        ('classifier', 'esam of two samples'),
        ('segmentor', 'esam of coordinates by rise'),
        ('segmentor of all pixels', 'esam by loss'),
    ],
)
def test_samples_are_selected_as_a_hand_written_loop_does(training_case: Callable, kind: str, name: str) -> None:
    """The loop takes the loss of each image from the logits, pixels without a label left out."""
    check(training_case, kind, SELECTIONS[name], 'sgd')


# Gradient accumulation: every part has its own ascent, the step mixes the sums


def accumulated(mix: Callable[[Problem, Tensor, Tensor], Tensor], rho: float, clip: float) -> Loop:
    def train(problem: Problem, batches: list[dict]) -> None:
        clean: list[Tensor] = []
        sharp: list[Tensor] = []
        for batch in problem.batches(batches):
            clean.append(problem.first_gradient(batch))
            sharp.append(problem.gradient_at(rho * sam_direction(problem, clean[-1], batch), batch))
            if len(clean) == 2:
                gradient = mix(problem, sum(clean) / 2, sum(sharp) / 2)
                assert float(gradient.norm()) > clip
                problem.descend(gradient * clip / gradient.norm())
                clean, sharp = [], []

    return train


def gsam_mix(problem: Problem, clean: Tensor, sharp: Tensor) -> Tensor:
    return sharp - 0.6 * (clean - (clean @ sharp) / (sharp @ sharp) * sharp)


ACCUMULATED: dict[str, tuple[dict, Callable]] = {
    'gsam': (dict(type='GSAM', rho=0.3, rho_min=0.3, alpha=0.6), gsam_mix),
    'wsam': (dict(type='WSAM', rho=0.3, gamma=0.4, form='coupled'), lambda problem, g, s: g + 0.4 / 0.6 * (s - g)),
    'looksam': (dict(type='LookSAM', rho=0.3, interval=1), lambda problem, clean, sharp: sharp),
}


@pytest.mark.parametrize('name', ACCUMULATED)
def test_accumulated_gradients_are_mixed_and_then_clipped(training_case: Callable, name: str) -> None:
    perturbation, mix = ACCUMULATED[name]
    model, batches = made(training_case, 'plain')
    reference = copy.deepcopy(model)
    options: dict = dict(accumulative_counts=2, clip_grad=dict(max_norm=0.02))
    trained(model, batches, perturbation, OPTIMIZERS['sgd'], **options)
    accumulated(mix, 0.3, 0.02)(Problem(reference, OPTIMIZERS['sgd']), batches)
    assert largest_difference(model, reference) < 1e-6  # torch divides by the norm plus 1e-6
    assert largest_difference(model, made(training_case, 'plain')[0]) > 1e-3


# Methods that become another one, step for step

REDUCED: dict[str, tuple[dict, dict]] = {
    'gsam without gap': (dict(type='GSAM', rho=0.2, rho_min=0.2, alpha=0), dict(type='SAM', rho=0.2)),
    'wsam of one half': (dict(type='WSAM', rho=0.2, gamma=0.5, form='coupled'), dict(type='SAM', rho=0.2)),
    'wsam without sharpness': (dict(type='WSAM', rho=0.2, gamma=0), dict(type='SAM', rho=0)),
    'wsam without sharpness, coupled': (dict(type='WSAM', rho=0.2, gamma=0, form='coupled'), dict(type='SAM', rho=0)),
    'friendly sam without friend': (dict(type='FriendlySAM', rho=0.2, sigma=0), dict(type='SAM', rho=0.2)),
    'fisher sam without fisher': (dict(type='FisherSAM', rho=0.2, eta=0), dict(type='SAM', rho=0.2)),
    'dense ssam-d': (dict(type='SSAMD', rho=0.2, sparsity=0, update_interval=2), dict(type='SAM', rho=0.2)),
    'looksam that always looks': (dict(type='LookSAM', rho=0.2, interval=1), dict(type='SAM', rho=0.2)),
    'sam-on over sam-on': (
        dict(type='SAMON', rho=0.5, direction=dict(type='SAMON', direction=dict(type='SAM'))),
        dict(type='SAMON', rho=0.5, direction=dict(type='SAM')),
    ),
}


@pytest.mark.parametrize('name', REDUCED)
def test_a_method_becomes_another_one(training_case: Callable, name: str) -> None:
    model, batches = made(training_case, 'plain')
    reference = copy.deepcopy(model)
    trained(model, batches, REDUCED[name][0], OPTIMIZERS['sgd'])
    trained(reference, batches, REDUCED[name][1], OPTIMIZERS['sgd'])
    assert largest_difference(model, reference) < 1e-11


# AWP steps at the perturbed weights


@pytest.mark.parametrize('optimizer', [dict(type='SGD', lr=0, momentum=0.9, weight_decay=0.1), dict(type='Adam', lr=0)])
def test_awp_brings_back_the_very_same_bits(training_case: Callable, optimizer: dict) -> None:
    """In float32, where adding and subtracting an offset would leave others."""
    model, batches = made(training_case, 'plain')
    model.float()
    batches = [{**batch, 'inputs': batch['inputs'].float()} for batch in batches]
    start = [parameter.detach().clone() for parameter in model.parameters()]
    seen: list[bool] = []
    model.register_forward_pre_hook(lambda *_: seen.append(torch.equal(model.conv.weight, start[0])))
    trained(model, batches, dict(type='AWP', rho=0.3), optimizer)
    assert seen == [True, False] * STEPS
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), start, strict=True))


def test_weight_decay_of_awp_sees_the_perturbed_weights(training_case: Callable) -> None:
    model, (batch, *_) = made(training_case, 'plain')
    wrapper = build_optim_wrapper(
        model,
        dict(
            type='SAMOptimWrapper',
            optimizer=dict(type='SGD', lr=0.1, weight_decay=0.5),
            perturbation=dict(type='AWP', rho=0.3),
        ),
    )
    start = model.conv.weight.detach().clone()
    stepped: list[Tensor] = []
    wrapper.optimizer.register_step_pre_hook(lambda *_: stepped.append(model.conv.weight.detach().clone()))
    gradients: list[Tensor] = []
    wrapper.optimizer.register_step_pre_hook(lambda *_: gradients.append(model.conv.weight.grad.clone()))
    model.train_step(batch, wrapper)
    assert float((stepped[0] - start).norm()) == pytest.approx(0.3 * float(start.norm()), rel=1e-12)
    expected = start - 0.1 * (gradients[0] + 0.5 * stepped[0])
    torch.testing.assert_close(model.conv.weight.detach(), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize('interval', [1, 3])
def test_awp_of_an_accumulated_step_is_that_of_its_last_part(training_case: Callable, interval: int) -> None:
    model, batches = made(training_case, 'plain')
    wrapper = build_optim_wrapper(
        model,
        dict(
            type='SAMOptimWrapper',
            optimizer=dict(type='SGD', lr=0.1),
            perturbation=dict(type='AWP', rho=0.3),
            accumulative_counts=2,
            interval=interval,
        ),
    )
    seen: list[Tensor] = []
    stepped: list[Tensor] = []
    model.register_forward_pre_hook(lambda *_: seen.append(model.conv.weight.detach().clone()))
    wrapper.optimizer.register_step_pre_hook(lambda *_: stepped.append(model.conv.weight.detach().clone()))
    for batch in batches:
        model.train_step(batch, wrapper)
        if len(stepped) and wrapper.inner_count % 2 == 0:
            assert torch.equal(stepped[-1], seen[-1])  # displaced if there was an ascent, or else where it stands
    assert len(stepped) == STEPS // 2
    assert len(seen) == STEPS + (STEPS if interval == 1 else STEPS // 3)
