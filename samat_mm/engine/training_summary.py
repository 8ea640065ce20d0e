"""One sentence that says over which variables a training maximises its loss."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from samat_mm.perturbations.inputs import Attack
from samat_mm.perturbations.weights import WeightPerturbation

IDLE = 'a radius that moves nothing'
Say = Callable[[float], str]  # from a radius to how the log writes it


def training_summary(weights: Sequence[str], inputs: Sequence[str]) -> str:
    """Return the sentence.

    Args:
        weights: summaries of the methods that maximise over weights, see :func:`ascent_summary`.
        inputs: summaries of those that maximise over inputs, see :func:`attack_summary`.
    """
    over = {'weights': ' and by '.join(weights), 'inputs': ' and by '.join(inputs)}
    named = [f'over {what} by {how}' for what, how in over.items() if how]
    if not named:
        return 'This training maximises its loss neither over weights nor over inputs.'
    left_out = ''.join(f', not over {what}' for what, how in over.items() if not how)
    return f'This training maximises its loss {" and ".join(named)}{left_out}.'


def in_pixel_units(radius: float) -> str:
    """Return '8/255'."""
    return f'{255 * radius:g}/255'


def in_embedding_units(radius: float) -> str:
    """Return '0.6'."""
    return f'{radius:g}'


def attack_summary(attack: Attack, say: Say = in_pixel_units) -> str:
    """Return 'PGD(norm=linf, eps=8/255, step_size=2/255, steps=10)', and other values that are not the default."""
    values, default = attack.describe(), _defaults(attack)
    different = {key for key in values.keys() & default.keys() if values[key] != default[key]}
    shown = {'norm', 'eps', 'step_size', 'steps', 'attack', *different} - {'type', 'seed'}
    return input_summary(str(values['type']), {key: value for key, value in values.items() if key in shown}, say)


def input_summary(name: str, values: Mapping[str, Any], say: Say = in_pixel_units) -> str:
    """Return 'NAME(key=value, ...)'.

    Args:
        name: name of the method.
        values: its parameters.
        say: writes radius and step size.
    """
    radii = ('eps', 'step_size') if 'eps' in values else ()
    said = {key: say(value) if key in radii else value for key, value in values.items()}
    return with_remarks(_call(name, said), [IDLE if values.get('eps') == 0 else ''])


def ascent_summary(wrapper: Any, schedulers: Sequence[Any] = ()) -> str:
    """Return 'SAM(rho=0.05)', and the steps at which it rests.

    Args:
        wrapper: a sharpness-aware optimizer wrapper.
        schedulers: MMEngine's parameter schedulers that drive something of its optimizer.
    """
    radii = sorted({group.get('initial_rho', group['rho']) for group in wrapper.optimizer.param_groups})
    said = f'{radii[0]:g}' if len(radii) == 1 else f'{radii[0]:g} to {radii[-1]:g}'
    drivers = [type(scheduler).__name__ for scheduler in schedulers if scheduler.param_name == 'rho']
    steps = -(-wrapper._max_counts // wrapper._accumulative_counts)
    schedule = wrapper.schedule
    first = schedule.first_step(steps) if steps > 0 or schedule.last is None else 0
    rests = [
        IDLE if radii[-1] == 0 else '',
        f'rho by {" and ".join(drivers)}' if drivers else '',
        f'in the last {100 * schedule.last:g} % of the training only' if schedule.last else '',
        f'from step {first + 1} on' if first else '',
        f'which is after the last of {steps}' if 0 < steps <= first else '',
        f'at every {schedule.interval} steps only' if schedule.interval > 1 else '',
    ]
    return with_remarks(_method(wrapper.perturbation, {'rho': said}), rests)


def with_remarks(text: str, remarks: Sequence[str]) -> str:
    """Return the text with the remarks that are not empty in parentheses behind it."""
    said = ', '.join(remark for remark in remarks if remark)
    return f'{text} ({said})' if said else text


def _method(method: WeightPerturbation, radius: Mapping[str, str]) -> str:
    """Return a method with its values other than the defaults; a direction that it builds on takes its radius."""
    default = _defaults(method)
    values = {key: getattr(method, key) for key in default if hasattr(method, key) and key not in ('rho', 'seed')}
    direction = values.pop('direction', None)
    said = {key: value for key, value in values.items() if key == 'interval' or value != default[key]}
    if direction is not None and _method(direction, {}) != 'SAM':
        said['direction'] = _method(direction, {})
    return _call(type(method).__name__, {**radius, **said})


def _call(name: str, values: Mapping[str, Any]) -> str:
    said = [f'{key}={value:g}' if isinstance(value, float) else f'{key}={value}' for key, value in values.items()]
    return f'{name}({", ".join(said)})' if said else name


def _defaults(built: Any) -> dict[str, Any]:
    return {name: entry.default for name, entry in inspect.signature(type(built)).parameters.items()}
