"""A training step in plain torch, for loops without MMEngine."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from samat_mm.perturbations.vectors import owning_their_memory
from samat_mm.perturbations.weights.displacement import Displacement, buffers_kept
from samat_mm.perturbations.weights.parts import Named, Need
from samat_mm.perturbations.weights.running import RunningMethod
from samat_mm.perturbations.weights.trained import (
    TrainedWeight,
    TrainedWeights,
    chosen,
    mix,
    named,
    offsets,
    offsets_ahead,
)


def perturbed_step(
    method: RunningMethod, loss_fn: Callable[[], Tensor], model: nn.Module, optimizer: Optimizer, step: int = 0
) -> Tensor:
    """Take one sharpness-aware step and return the loss of its first forward, detached.

    The model rather than its weights, because some methods ask what module a weight belongs to, and because the running
    statistics of the second pass are taken back. A loss is taken as one number: ESAM descends on all samples, and the
    squared gradient of a batch counts as that of one sample for SSAM-F.

    Args:
        method: ``SAM(rho=0.05).start()``; its ``state_dict`` belongs in checkpoints.
        loss_fn: runs the forward on the batch of this step and returns the loss; called once for each pass.
        model: what ``optimizer`` trains.
        optimizer: any; it gets the radius as ``rho`` of its parameter groups, where schedulers may drive it.
        step: number of this step, for methods that do not ascend at every one.
    """
    for group in optimizer.param_groups:
        group.setdefault('rho', method.method.rho)
    weights, displacement = TrainedWeights(), Displacement()
    weights.read(model)
    trained, movable = weights.of(optimizer), weights.movable(optimizer)
    moving: list[TrainedWeight] = []
    far: list[Tensor] = []
    clean: Named = {}
    optimizer.zero_grad()
    if method.source is None and movable and method.is_due(step):
        loss = loss_fn()
        moving, far, clean = _ascend(method, loss, movable, trained)
        with buffers_kept(model), displacement([entry.weight for entry in moving], far):
            for _ in range(method.ascents - 1 if moving else 0):
                far = offsets(method, moving, _gradients(loss_fn(), moving))  # type: ignore[arg-type]
                displacement.move([entry.weight for entry in moving], far)
            loss_fn().backward()
    else:
        if method.source is not None:
            method.source.check(optimizer)
            moving, far = offsets_ahead(method, movable, optimizer)
        with displacement([entry.weight for entry in moving], far):
            loss = loss_fn()
            loss.backward()
    if method.reads_descent and movable:
        mix(method, clean, {entry.name: entry.weight.grad for entry in trained if entry.weight.grad is not None})
    held = moving if Need.STEP_PERTURBED in method.needs else []
    with displacement.kept_changes([entry.weight for entry in held], far):
        optimizer.step()
    method.correct(named(trained), {entry.name: entry.group['lr'] for entry in trained})
    return loss.detach()


def _ascend(
    method: RunningMethod, loss: Tensor, movable: list[TrainedWeight], trained: list[TrainedWeight]
) -> tuple[list[TrainedWeight], list[Tensor], Named]:
    """Return what moves and how far, and the gradients at the weights if the descent needs them, too."""
    names, keep = {entry.name for entry in chosen(method, movable)}, Need.CLEAN_GRADIENT in method.needs
    asked = trained if keep else [entry for entry in movable if entry.name in names]
    found = [(entry, g) for entry, g in zip(asked, _gradients(loss, asked), strict=True) if g is not None]
    clean = {entry.name: gradient.clone() for entry, gradient in found} if keep else {}
    moving = [entry for entry, _ in found if entry.name in names]
    gradients = [gradient for entry, gradient in found if entry.name in names]
    if method.fisher_samples() > 0:
        method.add_fisher(named(moving), [gradient.square() for gradient in gradients], 1)
    return moving, offsets(method, moving, gradients), clean


def _gradients(loss: Tensor, entries: list[TrainedWeight]) -> list[Tensor | None]:
    if not entries:
        return []
    return owning_their_memory(torch.autograd.grad(loss, [entry.weight for entry in entries], allow_unused=True))
