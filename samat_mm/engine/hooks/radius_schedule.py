"""The radius of an input perturbation over time, by MMEngine's parameter schedulers."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.runner import Runner

from samat_mm.errors import InputError
from samat_mm.perturbations.inputs import Attack
from samat_mm.perturbations.inputs.ascent import ProjectedAscent


class RadiusSchedule:
    """The current share of the full radius.

    The share depends on the numbers of iterations and epochs alone, so a resumed run restores it by counting.

    Args:
        schedulers: config of one of MMEngine's parameter schedulers with ``param_name='eps'``, or of several; None
            keeps the full radius.

    Raises:
        ValueError: if one is not such a config, or would have to rise from 0.
    """

    def __init__(self, schedulers: dict | Sequence[dict] | None) -> None:
        self.configs = [schedulers] if isinstance(schedulers, dict) else list(schedulers or [])
        for config in self.configs:
            if not isinstance(config, dict) or config.get('param_name') != 'eps':
                raise InputError(
                    "eps_scheduler must be a config such as dict(type='LinearParamScheduler', param_name='eps', "
                    f'start_factor=0.1, end=1000, by_epoch=False), or a list of them; got {config!r}.'
                )
            if 0 in (config.get('start_factor'), config.get('factor')):
                raise InputError(
                    "MMEngine's schedulers multiply the last value, so eps never rises from 0; start at a small "
                    f'factor such as 1e-6; got {config!r}.'
                )
        self._radius = _Radius(1.0)
        self._schedulers: list[Any] = []

    def start(self, runner: Runner, eps: float) -> None:
        """Start a training with this full radius at the iteration and epoch of the runner.

        Raises:
            ValueError: if a scheduler needs metrics, or the radius is 0.
        """
        if not self.configs:
            return
        if eps == 0:
            raise InputError('eps_scheduler scales the radius, which must be greater than 0; got eps=0.')
        self._radius = _Radius(eps)
        # With MMEngine's own default for `end`, and its conversion from epochs to iterations.
        self._schedulers = runner._build_param_scheduler(self.configs, self._radius)
        if any(getattr(scheduler, 'need_val_args', False) for scheduler in self._schedulers):
            raise InputError('eps must depend on the iteration alone; use an eps_scheduler that needs no metrics.')
        epoch_ends = {epoch * len(runner.train_dataloader) for epoch in range(1, runner.epoch + 1)}
        for done in range(1, runner.iter + 1):
            self.step(by_epoch=False)
            if done in epoch_ends:
                self.step(by_epoch=True)
        for _ in range(sum(end > runner.iter for end in epoch_ends)):  # epochs were shorter: on more processes, say
            self.step(by_epoch=True)

    @property
    def factor(self) -> float:
        """The current share of the full radius, 1 without schedulers."""
        return self._radius.value / self._radius.full

    def step(self, by_epoch: bool) -> None:
        """Count an iteration, or an epoch."""
        self._radius.step()
        for scheduler in self._schedulers:
            if scheduler.by_epoch == by_epoch:
                scheduler.step()


class _Radius(torch.optim.Optimizer):
    """The optimizer that MMEngine's schedulers want, with eps for its one parameter."""

    def __init__(self, eps: float) -> None:
        self.full = eps
        super().__init__([{'params': [torch.zeros(())], 'eps': eps}], {})

    @property
    def value(self) -> float:
        return self.param_groups[0]['eps']

    def step(self, closure: Callable | None = None) -> None:  # type: ignore[override]
        """Nothing: schedulers warn if they are ahead of the optimizer."""


def scaled(attack: Attack, factor: float) -> Attack:
    """Return the attack with ``factor`` times its radius and its step size.

    Raises:
        ValueError: if the attack has no radius that its steps follow.
    """
    if factor == 1:
        return attack
    if not isinstance(attack, ProjectedAscent):
        raise InputError(
            'eps_scheduler needs an attack by projected ascent, such as PGD, APGD or SegPGD; '
            f'got {type(attack).__name__}.'
        )
    return attack.at(factor * attack.eps)
