"""A training step in plain torch, for loops without MMEngine."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.optim import Optimizer

from samat_mm.errors import InputError
from samat_mm.perturbations.weights.displacement import Displacement, buffers_kept
from samat_mm.perturbations.weights.parts import Named, Need
from samat_mm.perturbations.weights.passes import (
    first_ascent,
    gradients_of,
    known_ascent,
    mix,
    offsets_along,
    zero_filled,
)
from samat_mm.perturbations.weights.running import RunningMethod
from samat_mm.perturbations.weights.trained import (
    TrainedWeight,
    movable,
    named,
    places_of,
    put_radius_into_groups,
    tensors,
    trained_weights,
)


def perturbed_step(
    method: RunningMethod, loss_fn: Callable[[], Tensor], model: nn.Module, optimizer: Optimizer, step: int = 0
) -> Tensor:
    """Take one sharpness-aware step and return the loss of its first forward, detached.

    It takes the model rather than its weights, because some methods ask which module a weight belongs to, and because
    the running statistics of the second pass are taken back. The loss is one number: ESAM descends on all samples, and
    the squared gradient of a batch counts as that of one sample for SSAM-F.

    Args:
        method: ``SAM(rho=0.05).start()``; its ``state_dict`` belongs in checkpoints.
        loss_fn: runs the forward on the batch of this step and returns the loss; called once for each pass.
        model: the model that ``optimizer`` trains.
        optimizer: any optimizer; the radius is ``rho`` in its parameter groups, where schedulers may drive it.
        step: number of this step, for methods that do not ascend at every one.

    Raises:
        ValueError: if the method was not started, or the optimizer has a parameter rho itself.
        TypeError: if the method takes its direction from the optimizer, which has none.
    """
    if not isinstance(method, RunningMethod):
        raise InputError(f'perturbed_step takes a method in use, such as SAM().start(); got {method!r}.')
    put_radius_into_groups(method.rho, optimizer)
    method.check_optimizer(optimizer)
    trained, displacement = trained_weights(optimizer, places_of(model)), Displacement()
    can_move = bool(movable(trained))
    moving: list[TrainedWeight] = []
    offsets: list[Tensor] = []
    clean: Named = {}
    optimizer.zero_grad()
    if method.source is None and can_move and method.is_due(step):
        loss = loss_fn()
        moving, offsets, clean = first_ascent(
            method, trained, lambda entries: gradients_of(loss, entries), lambda *found: _learn(method, *found)
        )
        with buffers_kept(model), displacement(tensors(moving), offsets):
            for _ in range(method.ascents - 1 if moving else 0):
                offsets = offsets_along(method, moving, zero_filled(gradients_of(loss_fn(), moving), moving))
                displacement.move(tensors(moving), offsets)
            loss_fn().backward()
    else:
        if method.source is not None and can_move:
            moving, offsets = known_ascent(method, trained, optimizer)
        with displacement(tensors(moving), offsets):
            loss = loss_fn()
            loss.backward()
    if (method.mixes or method.learns) and can_move:
        mix(method, clean, {entry.name: entry.weight.grad for entry in trained if entry.weight.grad is not None})
    held = moving if Need.STEP_PERTURBED in method.needs else []
    with displacement.kept_changes(tensors(held), offsets):
        optimizer.step()
    method.correct(named(trained), {entry.name: entry.group['lr'] for entry in trained})
    return loss.detach()


def _learn(method: RunningMethod, weights: Named, gradients: list[Tensor]) -> None:
    if method.fisher_samples() > 0:
        method.add_fisher(weights, [gradient.square() for gradient in gradients], 1)
