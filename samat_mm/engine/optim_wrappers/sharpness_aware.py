"""The only code that touches an optimizer step: ascend, replay the forward, descend from there, come back."""

import inspect
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from mmengine.dist import all_reduce_params
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from samat_mm.models.replay import Replay, unwrapped
from samat_mm.models.state import buffers_kept
from samat_mm.perturbations.weights import Displacement, WeightPerturbation
from samat_mm.perturbations.weights.base import owning_their_memory
from samat_mm.registry import WEIGHT_PERTURBATIONS

if TYPE_CHECKING:
    from mmengine.optim import OptimWrapper as _Base
else:
    _Base = object


class SharpnessAwareMixin(_Base):
    """Makes an MMEngine optimizer wrapper sharpness-aware.

    A step perturbs the weights along the gradient of the loss just computed, runs the same forward on the same
    preprocessed batch there, and gives the gradient found there to the optimizer, at the weights of before. The radius
    lives in ``param_groups`` as ``rho``: MMEngine's schedulers drive it (``type='LinearParamScheduler',
    param_name='rho'``), and a ``rho_mult``
    in ``paramwise_cfg`` scales it for a layer. A group whose rho is 0 takes no part in the ascent.

    With several processes each perturbs along the gradient of its own samples (m-sharpness). With gradient
    accumulation every micro-batch has an ascent of its own. Clipping applies to the final gradient only. Running
    statistics come from the unperturbed forward only.

    Args:
        perturbation: config or instance of a weight perturbation; its parameters may also be given directly.
        interval: perturb at every so many optimizer steps only.
        start_iter: number of optimizer steps without perturbation at the beginning.
        sync_ascent: average the ascent gradient over all processes, for one perturbation of the whole batch.
        same_dropout: give the second forward the random numbers of the first.
        **kwargs: parameters of the perturbation and of the wrapped class.

    Raises:
        ValueError: if a parameter is out of its range or given twice.
    """

    default_perturbation: ClassVar[str]

    def __init__(
        self,
        *args: Any,
        perturbation: dict | WeightPerturbation | None = None,
        interval: int = 1,
        start_iter: int = 0,
        sync_ascent: bool = False,
        same_dropout: bool = False,
        **kwargs: Any,
    ) -> None:
        if interval < 1 or start_iter < 0:
            raise ValueError(f'interval must be at least 1 and start_iter at least 0; got {interval} and {start_iter}.')
        self.perturbation = self._build_perturbation(perturbation, kwargs)
        self.interval, self.start_iter, self.sync_ascent = interval, start_iter, sync_ascent
        self._replay = Replay(same_dropout)
        self._displacement = Displacement()
        self._names: dict[int, str] = {}
        self._ascending: bool | None = None  # None: no forward has announced itself
        super().__init__(*args, **kwargs)
        if 'rho' in self.optimizer.defaults:
            raise ValueError(
                f'{type(self.optimizer).__name__} has a parameter rho of its own, which the radius in param_groups '
                'would overwrite; use another optimizer.'
            )
        self._put_rho_into_param_groups()

    def _build_perturbation(self, given: dict | WeightPerturbation | None, kwargs: dict) -> WeightPerturbation:
        if isinstance(given, WeightPerturbation):
            return given
        config = {'type': self.default_perturbation, **(given or {})}
        cls = WEIGHT_PERTURBATIONS.get(config['type']) if isinstance(config['type'], str) else config['type']
        for name in inspect.signature(cls).parameters if cls else ():
            if name in kwargs:
                if name in config:
                    raise ValueError(f'{name} is given twice: directly and in perturbation; give it once.')
                config[name] = kwargs.pop(name)
        return WEIGHT_PERTURBATIONS.build(config)

    def _put_rho_into_param_groups(self) -> None:
        for group in self.optimizer.param_groups:
            group.setdefault('rho', self.perturbation.rho * group.get('rho_mult', 1))
        if self.base_param_settings is not None:
            self.base_param_settings.setdefault('rho', self.perturbation.rho)

    def load_state_dict(self, state_dict: dict) -> None:
        """Load the optimizer's state; the radius too, if the checkpoint comes from a sharpness-aware run."""
        super().load_state_dict(state_dict)
        self._put_rho_into_param_groups()
        started_from = {group.get('initial_rho', group['rho']) / group.get('rho_mult', 1) for group in self._radii()}
        if any(abs(rho - self.perturbation.rho) > 1e-12 for rho in started_from):
            print_log(
                f'the radius comes from the checkpoint ({sorted(started_from)}), not from the config '
                f'({self.perturbation.rho}), as a resumed learning rate does.',
                logger='current',
                level=logging.WARNING,
            )

    def _radii(self) -> list[dict]:
        return [group for group in self.optimizer.param_groups if group.get('rho_mult', 1) > 0]

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward of a training step, ready to be run again.

        Raises:
            TypeError: if the model's training step cannot be replayed.
        """
        self._ascending = self._is_due() and bool(self._perturbed())
        with ExitStack() as stack:
            if self._ascending:
                stack.enter_context(self._replay.capture(model))
                if isinstance(model, DistributedDataParallel):  # the first backward is local, see backward()
                    stack.enter_context(model.no_sync())
            stack.enter_context(super().optim_context(model))
            yield

    def _is_due(self) -> bool:
        step = self._inner_count // self._accumulative_counts
        return step >= self.start_iter and (step - self.start_iter) % self.interval == 0

    def _perturbed(self) -> list[tuple[Tensor, float]]:
        """Return the parameters that the ascent moves, each with its radius."""
        return [
            (parameter, group['rho'])
            for group in self.optimizer.param_groups
            if group['rho'] > 0
            for parameter in group['params']
            if parameter.requires_grad
        ]

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Accumulate the gradient of the loss at the perturbed weights, which are back when this returns.

        The ascent gradient never enters ``.grad``, so that accumulation, clipping and attacks see descent gradients
        only.

        Args:
            loss: the loss of the first forward, divided for gradient accumulation.
            **kwargs: for ``Tensor.backward`` of the second pass.

        Raises:
            RuntimeError: if the step did not run exactly one loss forward.
        """
        ascending, self._ascending = self._ascending, None
        if ascending is None and self._is_due() and self._perturbed():
            raise RuntimeError(
                'a sharpness-aware step needs its loss forward inside optim_context before update_params, because it '
                'runs that forward again at the perturbed weights; there was none.'
            )
        if not ascending:
            super().backward(loss, **kwargs)
            return
        try:
            parameters, offsets = self._offsets(loss)
            model = self._replay.model
            with buffers_kept(model), self._displacement(parameters, offsets):  # type: ignore[arg-type]
                del offsets[:]  # frees the first gradient before the second forward needs the memory
                with super().optim_context(model):
                    perturbed_loss = self._replay()
                super().backward(self.scale_loss(self._descent_loss(perturbed_loss)), **kwargs)
        finally:
            self._replay.clear()

    def _offsets(self, loss: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the parameters to move and by how much."""
        chosen = self._perturbed()
        gradients = owning_their_memory(
            torch.autograd.grad(self._ascent_loss(loss), [parameter for parameter, _ in chosen], allow_unused=True)
        )
        if self.sync_ascent:  # every process must reduce the same tensors
            gradients = [
                torch.zeros_like(parameter) if gradient is None else gradient
                for gradient, (parameter, _) in zip(gradients, chosen, strict=True)
            ]
            all_reduce_params(gradients, op='mean')
        used = [(*pair, gradient) for pair, gradient in zip(chosen, gradients, strict=True) if gradient is not None]
        del gradients
        if not self._is_usable([gradient for *_, gradient in used]) or not used:
            return [], []
        parameters = [parameter for parameter, _, _ in used]
        weights = {self._name(parameter): parameter for parameter in parameters}
        offsets = self.perturbation.ascend(weights, [gradient for *_, gradient in used])
        torch._foreach_mul_(offsets, [rho for _, rho, _ in used])
        return parameters, offsets

    def _name(self, parameter: Tensor) -> str:
        if id(parameter) not in self._names:
            named = unwrapped(self._replay.model).named_parameters()  # type: ignore[arg-type]
            self._names.update((id(value), name) for name, value in named)
        return self._names.setdefault(id(parameter), f'parameter {id(parameter)} outside the model')

    def _ascent_loss(self, loss: Tensor) -> Tensor:
        """Return what the first pass differentiates."""
        return loss

    def _descent_loss(self, loss: Tensor) -> Tensor:
        """Return what the second pass differentiates."""
        return loss

    def _is_usable(self, gradients: list[Tensor]) -> bool:
        """Tell whether the first gradient gives a direction."""
        return True
