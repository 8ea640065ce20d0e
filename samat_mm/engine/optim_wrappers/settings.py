"""What a sharpness-aware wrapper is configured with: a perturbation, whose radius is in the parameter groups."""

import inspect
import logging
from typing import TYPE_CHECKING, Any, ClassVar

from mmengine.logging import print_log

from samat_mm.errors import InputError
from samat_mm.perturbations.weights import WeightPerturbation
from samat_mm.registry import WEIGHT_PERTURBATIONS

if TYPE_CHECKING:
    from mmengine.optim import OptimWrapper as _Base
else:
    _Base = object


class PerturbationSettings(_Base):
    """Builds the perturbation, keeps its radius in ``param_groups`` and its memory in the state.

    Args:
        perturbation: config or instance of a weight perturbation; its parameters may also be given directly.
        **kwargs: parameters of the perturbation and of the wrapped class.

    Raises:
        ValueError: if a parameter is given twice, or the optimizer has a parameter rho itself.
    """

    default_perturbation: ClassVar[str]

    def __init__(self, *args: Any, perturbation: dict | WeightPerturbation | None = None, **kwargs: Any) -> None:
        self.perturbation = self._build_perturbation(perturbation, kwargs)
        super().__init__(*args, **kwargs)
        if 'rho' in self.optimizer.defaults:
            raise InputError(
                f'{type(self.optimizer).__name__} has a parameter rho of its own, which the radius in param_groups '
                'would overwrite; use another optimizer.'
            )
        self._put_rho_into_param_groups()

    def _build_perturbation(self, given: dict | WeightPerturbation | None, kwargs: dict) -> WeightPerturbation:
        if isinstance(given, WeightPerturbation):
            names = sorted(set(inspect.signature(type(given)).parameters) & set(kwargs))
            if names:
                raise InputError(
                    f'{", ".join(names)} would change a {type(given).__name__} that is built already; give it there.'
                )
            return given
        if given is not None and not isinstance(given, dict):
            raise InputError(
                f"perturbation must be a config such as dict(type='LookSAM'), or a weight perturbation; got {given!r}."
            )
        config = {'type': self.default_perturbation, **(given or {})}
        cls = WEIGHT_PERTURBATIONS.get(config['type']) if isinstance(config['type'], str) else config['type']
        for name in inspect.signature(cls).parameters if cls else ():
            if name in kwargs:
                if name in config:
                    raise InputError(f'{name} is given twice: directly and in perturbation; give it once.')
                config[name] = kwargs.pop(name)
        return WEIGHT_PERTURBATIONS.build(config)

    def _put_rho_into_param_groups(self) -> None:
        for group in self.optimizer.param_groups:
            group.setdefault('rho', self.perturbation.rho * group.get('rho_mult', 1))
        if self.base_param_settings is not None:
            self.base_param_settings.setdefault('rho', self.perturbation.rho)

    def state_dict(self) -> dict:
        """Return the optimizer's state and the memory of the perturbation."""
        state = super().state_dict()
        memory = self.perturbation.state_dict()
        return {**state, 'perturbation': memory} if memory else state

    def load_state_dict(self, state_dict: dict) -> None:
        """Load the optimizer's state; radius and memory too, if the checkpoint comes from a sharpness-aware run."""
        state_dict = dict(state_dict)
        memory = state_dict.pop('perturbation', {})
        super().load_state_dict(state_dict)
        self.perturbation.load_state_dict(memory)
        self._put_rho_into_param_groups()
        radii = [group for group in self.optimizer.param_groups if group.get('rho_mult', 1) > 0]
        started_from = {group.get('initial_rho', group['rho']) / group.get('rho_mult', 1) for group in radii}
        if any(abs(rho - self.perturbation.rho) > 1e-12 for rho in started_from):
            print_log(
                f'the radius comes from the checkpoint ({sorted(started_from)}), not from the config '
                f'({self.perturbation.rho}), as a resumed learning rate does.',
                logger='current',
                level=logging.WARNING,
            )
