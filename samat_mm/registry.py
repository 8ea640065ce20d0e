"""The registries of samat-mm.

Attacks, weight perturbations and sources of word substitutions have their own registries; importing ``samat_mm.words``
fills the last one and adds the attacks on words. Hooks, optimizer wrappers, datasets and transforms are in MMEngine's
root registries, so every OpenMMLab project finds them, whatever its ``default_scope``.
"""

import inspect
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import Registry

from samat_mm.errors import InputError
from samat_mm.perturbations.inputs import ATTACK_TYPES
from samat_mm.perturbations.parametrized import Parametrized, SeededAttack
from samat_mm.perturbations.weights import WEIGHT_PERTURBATION_TYPES, WeightPerturbation

KINDS = {  # by the name of the registry
    'attack': SeededAttack,
    'weight perturbation': WeightPerturbation,
    'source of substitutions': Parametrized,
}


def _build(cfg: dict | ConfigDict | Config | Any, registry: Registry, *args: Any, **kwargs: Any) -> Any:
    """Build from a config; errors list the registered types or repeat the builder's own message."""
    if isinstance(cfg, KINDS[registry.name]):
        return cfg  # already an instance
    if not isinstance(cfg, (dict, Config)):
        named = 'the name ' if isinstance(cfg, str) else ''
        raise InputError(f'{registry.name} must be a config such as dict(type=...); got {named}{cfg!r}.')
    parameters = {
        key: registry.build(value) if isinstance(value, dict) and value.get('type') in registry.module_dict else value
        for key, value in cfg.items()
    }
    name = parameters.pop('type', None)
    cls = registry.module_dict.get(name) if isinstance(name, str) else name
    if not callable(cls):
        known = ', '.join(sorted(registry.module_dict))
        raise InputError(f'{registry.name} of type {name!r} is unknown; the known ones are {known}.')
    try:
        inspect.signature(cls).bind(**parameters)  # does not catch errors raised inside
    except TypeError as error:
        raise InputError(f'{name} does not accept these parameters: {error}.') from error
    return cls(**parameters)


ATTACKS = Registry('attack', build_func=_build, scope='samat_mm', locations=['samat_mm.perturbations'])
WEIGHT_PERTURBATIONS = Registry(
    'weight perturbation', build_func=_build, scope='samat_mm', locations=['samat_mm.perturbations']
)
SUBSTITUTIONS = Registry(
    'source of substitutions', build_func=_build, scope='samat_mm', locations=['samat_mm.words.substitutions']
)

for attack_type in ATTACK_TYPES:
    ATTACKS.register_module(module=attack_type)
for perturbation_type in WEIGHT_PERTURBATION_TYPES:
    WEIGHT_PERTURBATIONS.register_module(module=perturbation_type)
