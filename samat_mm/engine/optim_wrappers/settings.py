"""The configuration of a sharpness-aware wrapper: a perturbation, whose radius is in the parameter groups."""

import inspect
import logging
from collections.abc import Sequence
from typing import Any

from mmengine.logging import print_log

from samat_mm.errors import InputError
from samat_mm.perturbations.checks import share
from samat_mm.perturbations.weights import Need, RunningMethod, WeightPerturbation
from samat_mm.registry import WEIGHT_PERTURBATIONS


def build_perturbation(default: str, given: dict | WeightPerturbation | None, kwargs: dict) -> WeightPerturbation:
    """Return the perturbation, built from its config and from its parameters in ``kwargs``, which are taken out.

    Raises:
        ValueError: if it is not a perturbation, or a parameter is given twice.
    """
    if isinstance(given, WeightPerturbation):
        names = sorted(set(inspect.signature(type(given)).parameters) & set(kwargs))
        if names:
            raise InputError(
                f'{", ".join(names)} would change a {type(given).__name__} that is already built; give it there.'
            )
        return given
    if given is not None and not isinstance(given, dict):
        raise InputError(
            f"perturbation must be a config such as dict(type='LookSAM'), or a weight perturbation; got {given!r}."
        )
    config = {'type': default, **(given or {})}
    cls = WEIGHT_PERTURBATIONS.get(config['type']) if isinstance(config['type'], str) else config['type']
    for name in inspect.signature(cls).parameters if cls else ():
        if name in kwargs:
            if name in config:
                raise InputError(f'{name} is given twice: directly and in perturbation; give it once.')
            config[name] = kwargs.pop(name)
    return WEIGHT_PERTURBATIONS.build(config)


def check_first_pass(method: RunningMethod, ascent_share: float, ascent_dtype: str | None) -> None:
    """Refuse a cheaper first pass for a method whose parts need more of it, or none.

    Raises:
        ValueError: naming the method and the setting.
    """
    if ascent_dtype not in (None, 'bfloat16'):
        raise InputError(
            f"ascent_dtype must be 'bfloat16' or None, because float16 needs a loss scale; got {ascent_dtype!r}."
        )
    if share(ascent_share, 'ascent_share') < 1 and Need.SAMPLE_LOSSES in method.needs:
        raise InputError(
            f'{method.name} compares the losses of all samples, and its first forward needs all of them; '
            f'got ascent_share={ascent_share}.'
        )
    if ascent_share == 1 and ascent_dtype is None:
        return
    if Need.CLEAN_GRADIENT in method.needs:
        raise InputError(
            f'{method.name} mixes the first gradient into the descent, which takes all samples in full precision; '
            'leave out ascent_share and ascent_dtype.'
        )
    if method.source is not None or method.ascents > 1:
        passes = 'has no pass' if method.source is not None else f'has {method.ascents} passes'
        raise InputError(f'{method.name} {passes} for its ascent; leave out ascent_share and ascent_dtype.')


def tell_of_loaded_radius(rho: float, groups: Sequence[dict[str, Any]]) -> None:
    """Warn where the radius of a checkpoint differs from that of the config."""
    radii = [group for group in groups if group.get('rho_mult', 1) > 0]
    started_from = {group.get('initial_rho', group['rho']) / group.get('rho_mult', 1) for group in radii}
    if any(abs(radius - rho) > 1e-12 for radius in started_from):
        print_log(
            f'the radius comes from the checkpoint ({sorted(started_from)}), not from the config ({rho}), as a resumed '
            'learning rate does.',
            logger='current',
            level=logging.WARNING,
        )
