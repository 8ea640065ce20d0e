"""Attacks by name: every file in ``configs/_base_/attacks/`` is a preset."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from samat_mm.errors import InputError
from samat_mm.perturbations.inputs import PGD, Attack
from samat_mm.perturbations.units import parse_radius
from samat_mm.registry import ATTACKS


def configs_folder() -> Path:
    """Return the folder of the configs, in a checkout or in an installed package."""
    packaged = Path(__file__).parent / 'configs'
    return packaged if packaged.is_dir() else Path(__file__).parents[1] / 'configs'


def presets() -> dict[str, dict[str, Any]]:
    """Return the presets by name: each has the ``attack`` config and its ``source``."""
    files = sorted((configs_folder() / '_base_' / 'attacks').glob('*.py'))
    return {file.stem: dict(Config.fromfile(file)) for file in files}


def attack_config(attack: str | dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the name and the config of an attack, given as a preset's name or as a config.

    A config may carry a ``name``; otherwise it is called by its type and norm, 'pgd-linf' for instance.

    Raises:
        ValueError: if there is no such preset (the message lists the known ones), or the config has no type, or the
            name of the results without an attack.
    """
    if isinstance(attack, str):
        known = presets()
        if attack not in known:
            raise InputError(f'attack {attack!r} is unknown; the known ones are {", ".join(known)}.')
        return attack, dict(known[attack]['attack'])
    config = dict(attack)
    if 'type' not in config:
        raise InputError(f"an attack needs a type, such as 'PGD'; got {attack!r}.")
    name = config.pop('name', None) or '-'.join(
        str(config[key]).lower() for key in ('type', 'norm') if config.get(key) is not None
    )
    if name == 'clean':
        raise InputError("an attack cannot be called 'clean', as the results without one are; give it another name=.")
    return name, config


def build_attacks(
    attacks: Sequence[str | dict[str, Any]], radii: Sequence[str | float] = (), **overrides: Any
) -> dict[str, Attack]:
    """Build attacks by name.

    Args:
        attacks: presets or configs.
        radii: in rising order; of several, each makes an attack of its own, called 'pgd-linf@4/255'.
        **overrides: parameters that replace those of every attack that has them; None leaves a parameter as it is.

    Raises:
        ValueError: if an attack is unknown, two have the same name, radii do not rise, or a parameter does not fit.
    """
    if len(radii) > 1:
        return _at_radii(attacks, radii, **overrides)
    overrides['eps'] = radii[0] if radii else overrides.get('eps')
    built: dict[str, Attack] = {}
    for entry in attacks:
        name, config = attack_config(entry)
        if name in built:
            raise InputError(f'attack {name!r} is given twice; give one of them another name=.')
        changes = {key: value for key, value in overrides.items() if value is not None}
        if 'eps' in changes and 'eps' not in ATTACKS.build(config).describe():
            del changes['eps']  # Pixle, for instance, is bounded by nothing unless its config says so
        if 'eps' in changes and 'step_size' not in changes:
            config.pop('step_size', None)  # the attack's own default follows eps
        known = inspect.signature(ATTACKS.get(config['type']) or PGD).parameters
        built[name] = ATTACKS.build({**config, **{key: value for key, value in changes.items() if key in known}})
    return built


def _at_radii(
    attacks: Sequence[str | dict[str, Any]], radii: Sequence[str | float], **overrides: Any
) -> dict[str, Attack]:
    numbers = [parse_radius(radius, 'eps') for radius in radii]
    for position in range(1, len(numbers)):
        if numbers[position] <= numbers[position - 1]:
            raise InputError(
                f'several radii must rise; got {radii[position]} after {radii[position - 1]}. '
                f'Give them as {" ".join(str(radii[numbers.index(number)]) for number in sorted(set(numbers)))}.'
            )
    built: dict[str, Attack] = {}
    for entry in attacks:
        for radius in radii:
            ((name, attack),) = build_attacks([entry], [radius], **overrides).items()
            name = f'{name}@{radius}' if 'eps' in attack.describe() else name
            if name in built and 'eps' in attack.describe():
                raise InputError(f'attack {name!r} is given twice; give one of them another name=.')
            built[name] = attack
    return built
