"""Attacks by name: every file in ``configs/_base_/attacks/`` is a preset."""

import copy
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from mmengine.config import Config

from samat_mm.errors import InputError, UnsupportedError
from samat_mm.files.configs import preset_folder, preset_names
from samat_mm.files.outputs import file_name
from samat_mm.perturbations.inputs import Attack
from samat_mm.perturbations.parametrized import SeededAttack
from samat_mm.perturbations.units import ANY, Radii, radii_by_norm
from samat_mm.registry import ATTACKS


def preset(name: str) -> dict[str, Any]:
    """Return the ``attack`` config and the ``source`` of a preset.

    Raises:
        ValueError: if the preset is unknown; the message lists the known ones.
    """
    known = preset_names()
    if name not in known:
        raise InputError(f'attack {name!r} is unknown; the known ones are {", ".join(known)}.')
    return copy.deepcopy(_read(preset_folder() / f'{name}.py'))


def presets() -> dict[str, dict[str, Any]]:
    """Return all presets by name, each as :func:`preset` does."""
    return {name: preset(name) for name in preset_names()}


@cache
def _read(file: Path) -> dict[str, Any]:
    return Config.fromfile(file).to_dict()


def attack_config(attack: str | dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the name and the config of an attack, given as a preset's name or as a config.

    A config may have a ``name``; the default consists of its type and norm, for instance 'pgd-linf', and the name of an
    attack that it runs, as in 'scaledlogits-pgd-linf'.

    Raises:
        ValueError: if the preset is unknown (the message lists the known ones), the config has no type, or the name is
            reserved for the results without an attack.
    """
    if isinstance(attack, str):
        return attack, preset(attack)['attack']
    if not isinstance(attack, Mapping) or 'type' not in attack:
        raise InputError(f"an attack that is not the name of a preset needs a type, such as 'PGD'; got {attack!r}.")
    config = dict(attack)
    kind = getattr(config['type'], '__name__', config['type'])
    inner = None
    if isinstance(config.get('attack'), Mapping):
        inner, config['attack'] = attack_config(config['attack'])
    name = config.pop('name', None) or '-'.join(
        str(part).lower() for part in (kind, config.get('norm'), inner) if part is not None
    )
    if not isinstance(name, str):
        raise InputError(f'the name of an attack must be a string; got {name!r}.')
    if name == 'clean':
        raise InputError("an attack cannot be called 'clean', which names the results without one; give another name=.")
    return name, config


def listed(attacks: Any) -> list[str | dict[str, Any]]:
    """Return the presets and configs that a config lists.

    Raises:
        ValueError: unless it is a list of them.
    """
    if not isinstance(attacks, (list, tuple)):
        raise InputError(f"attacks must be a list of presets and configs, such as ['pgd-linf']; got {attacks!r}.")
    return list(attacks)


def build_attacks(
    attacks: Sequence[str | dict[str, Any]], eps: Radii = (), **overrides: Any
) -> dict[str, SeededAttack]:
    """Build attacks by name.

    Args:
        attacks: presets or configs.
        eps: a radius, or several in rising order, which each make a separate attack, named such as
            'pgd-linf@4/255'; or those of each norm, ``{'linf': '4/255', 'l2': '128/255'}``.
        **overrides: parameters to replace in every attack that has them; None leaves a parameter unchanged.

    Raises:
        ValueError: if an attack is unknown, two have the same name, radii do not rise, a parameter does not fit, or no
            attack has it.
    """
    changes = {key: value for key, value in overrides.items() if value is not None}
    by_norm = radii_by_norm(eps)
    built: dict[str, SeededAttack] = {}
    used: set[str] = set()
    for name, config in [attack_config(entry) for entry in attacks]:
        known = _parameters(config)
        own = {key: value for key, value in changes.items() if key in known}
        norm = ANY if ANY in by_norm else str(_norm(config))
        chosen = by_norm.get(norm, ()) if 'eps' in known else ()
        used |= {*own, *([norm] if chosen else [])}
        if not chosen:
            _add(built, name, _changed(config, own))
        for radius in chosen:
            _add(built, f'{name}@{radius}' if len(chosen) > 1 else name, _changed(config, {**own, 'eps': radius}))
    idle = [key for key in changes if key not in used and key != 'seed']
    idle += ['eps' if norm == ANY else f'eps of {norm}' for norm in by_norm if norm not in used]
    if built and idle:
        raise InputError(f'none of the attacks ({", ".join(built)}) takes {" or ".join(idle)}; leave it out.')
    return built


def _norm(config: Mapping[str, Any]) -> Any:
    """Return the norm of the attack that a config builds, or of the one that it runs."""
    attack = ATTACKS.build(dict(config))
    return getattr(attack, 'norm', None) or getattr(getattr(attack, 'attack', None), 'norm', None)


def image_attacks(attacks: Any) -> dict[str, Attack]:
    """Return attacks on images by name, given so or as a list of presets and configs.

    Raises:
        ValueError: if one cannot be built.
        TypeError: if one is not for images.
    """
    built = dict(attacks) if isinstance(attacks, Mapping) else build_attacks(listed(attacks))
    return {name: image_attack(attack, name) for name, attack in built.items()}


def image_attack(attack: Any, name: str | None = None) -> Attack:
    """Return an attack on images, given as a value or a config.

    Raises:
        ValueError: if it cannot be built.
        TypeError: if it is not for images.
    """
    built = ATTACKS.build(attack)
    if not isinstance(built, Attack):
        kind = type(built).__name__
        raise UnsupportedError(
            f'attack {name or kind} replaces words ({kind}), and here gradients move inputs; test sentences with '
            "test_cfg=dict(type='TextAttackTestLoop')."
        )
    return built


def _changed(config: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config with other parameters; if it runs another attack, those that this one has are for it."""
    inner = config.get('attack')
    if isinstance(inner, Mapping):
        known = _parameters(dict(inner))
        passed = {key: value for key, value in changes.items() if key in known}
        rest = {key: value for key, value in changes.items() if key not in known}
        return {**config, **rest, 'attack': _changed(dict(inner), passed)}
    if 'eps' in changes and 'step_size' not in changes:
        config = {key: value for key, value in config.items() if key != 'step_size'}  # its default follows eps
    return {**config, **changes}


def _parameters(config: dict[str, Any]) -> set[str]:
    """Return the parameters of an attack that can be replaced.

    These exclude a radius that is unbounded unless the config sets it, as in Pixle.
    """
    attack = ATTACKS.build(config)
    return attack.parameters - ({'eps'} if getattr(attack, 'eps', None) is None else set())


def _add(built: dict[str, SeededAttack], name: str, config: dict[str, Any]) -> None:
    """Build an attack under a name that is unique, also as a file name."""
    if file_name(name) in map(file_name, built):
        raise InputError(f'attack {name!r} is given twice; give one of them another name=.')
    built[name] = ATTACKS.build(config)
