"""The training methods of the paper's tables, each as the change that it makes to the config of plain training."""

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from samat_mm.errors import InputError
from samat_mm.perturbations.units import parse_radius

Row = Mapping[str, Any]

# By radius, the step size and the number of steps of the paper's protocol.
LINF_STEPS = {'1/255': ('0.5/255', 5), '2/255': ('1/255', 5), '4/255': ('1/255', 10), '8/255': ('2/255', 10)}
L2_STEPS = 5  # of half the radius each


def changes_of(row: Row, base: Config, radii: Mapping[str, float]) -> dict[str, Any]:
    """Return what a row changes in the config of plain training, by SGD or, of a text model, by AdamW.

    Args:
        row: ``method``, or several ('SAM + linf-AT', the weights first), and their ``rho`` and ``eps``.
        base: The config of plain training.
        radii: By norm, the factor by which the radius of adversarial training is scaled; 1 where a norm is missing.

    Raises:
        ValueError: if the method is unknown, or its radius is missing.
    """
    changes: dict[str, Any] = {}
    for method in parts_of(row):
        if method not in METHODS:
            raise InputError(f'method {method!r} of a table is unknown; the known ones are {", ".join(METHODS)}.')
        parameter = RADIUS_OF.get(method)
        if parameter and parameter not in row:
            raise InputError(f'method {method} of a table needs {parameter}; give it in the row {dict(row)}.')
        changes |= METHODS[method](row, base, radii)
    return changes


def parts_of(row: Row) -> list[str]:
    """Return the methods that a row combines: 'SAM + linf-AT' is both at once."""
    return row['method'].split(' + ')


def title_of(row: Row) -> str:
    """Return how a row is called: 'SAM (rho = 0.1)', 'WRN-28-10, linf-AT (eps = 8/255)'."""
    parameters = [RADIUS_OF[method] for method in parts_of(row) if method in RADIUS_OF]
    said = ', '.join(f'{parameter} = {row[parameter]}' for parameter in parameters)
    name = f'{row["method"]} ({said})' if said else row['method']
    return f'{row["model"]}, {name}' if 'model' in row else name


def key_of(name: str) -> str:
    """Return the name of a row as part of a path: 'SAM_rho-0.1'."""
    key = ''.join(letter if letter.isalnum() or letter in '.-' else '_' for letter in name.replace(' = ', '-'))
    return key.replace('__', '_').strip('_')


def _unchanged(row: Row, base: Config, radii: Mapping[str, float]) -> dict[str, Any]:
    return {}


def _adam(row: Row, base: Config, radii: Mapping[str, float]) -> dict[str, Any]:
    """Return Adam at 1e-3, with the weight decay of SGD."""
    decay = base.optim_wrapper.optimizer.weight_decay
    return dict(optim_wrapper=dict(optimizer=dict(_delete_=True, type='Adam', lr=1e-3, weight_decay=decay)))


def _sharpness_aware(row: Row, base: Config, radii: Mapping[str, float]) -> dict[str, Any]:
    return dict(optim_wrapper=dict(type=f'{parts_of(row)[0]}OptimWrapper', rho=row['rho']))


def _linf_training(row: Row, base: Config, radii: Mapping[str, float]) -> dict[str, Any]:
    if row['eps'] not in LINF_STEPS:
        raise InputError(f'linf-AT of a table has one of the radii {", ".join(LINF_STEPS)}; got {row["eps"]!r}.')
    step, steps = LINF_STEPS[row['eps']]
    factor = radii.get('linf', 1.0)
    return _training('linf', factor * parse_radius(row['eps'], 'eps'), factor * parse_radius(step, 'step_size'), steps)


def _l2_training(row: Row, base: Config, radii: Mapping[str, float]) -> dict[str, Any]:
    radius = radii.get('l2', 1.0) * parse_radius(row['eps'], 'eps')
    return _training('l2', radius, radius / 2, L2_STEPS)


def _training(norm: str, eps: float, step_size: float, steps: int) -> dict[str, Any]:
    attack = dict(type='PGD', norm=norm, eps=eps, step_size=step_size, steps=steps)
    hook = dict(type='AdversarialTrainingHook', attack=attack)
    return dict(default_hooks=dict(adversarial_training=hook))


METHODS = {
    'SGD': _unchanged,
    'AdamW': _unchanged,
    'Adam': _adam,
    'SAM': _sharpness_aware,
    'ASAM': _sharpness_aware,
    'ESAM': _sharpness_aware,
    'linf-AT': _linf_training,
    'l2-AT': _l2_training,
}
RADIUS_OF = {'SAM': 'rho', 'ASAM': 'rho', 'ESAM': 'rho', 'linf-AT': 'eps', 'l2-AT': 'eps'}
