"""The report of an evaluation: a JSON document."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from samat_mm.compat import versions
from samat_mm.evaluation.attack_result import AttackResult
from samat_mm.evaluation.attack_run import CLEAN, EXPORTED
from samat_mm.perturbations.inputs import Attack
from samat_mm.perturbations.parametrized import SeededAttack
from samat_mm.visualization.document import RESERVED


def build_report(
    metrics: Mapping[str, Any],
    attacks: Mapping[str, SeededAttack],
    *,
    config: str,
    checkpoint: str,
    seed: int,
    samples: int,
    by_attack: Mapping[str, AttackResult] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Sort the flat metrics of a run by attack.

    Args:
        metrics: the metrics as MMEngine returns them, with the name of the attack as prefix: 'pgd-linf/mIoU'.
        attacks: the attacks that were run, by name.
        config: the config's path.
        checkpoint: the checkpoint's path.
        seed: seed of the random starts.
        samples: number of images.
        by_attack: the results by attack, for the cost of the attacks and the scores of their files.
        **more: further sections.

    Returns:
        The document that ``samat-mm test --out`` writes.
    """
    results: dict[str, dict[str, Any]] = {'clean': {}, **{name: {} for name in attacks}}
    for key, value in ((str(key), value) for key, value in metrics.items()):
        name = max((name for name in attacks if key.startswith(f'{name}/')), key=len, default=None)
        own = key.removeprefix(f'{name}/')
        results[name or 'clean'][f'metric/{own}' if own in RESERVED else own] = _plain(value)
    for name, attack in attacks.items():
        results[name]['attack'] = attack.describe()
        if by_attack and name in by_attack:
            results[name].update({key: _plain(value) for key, value in by_attack[name].cost().items()})
            nearest = minimal_norm(attack, by_attack[name], by_attack.get(CLEAN))
            results[name].update({} if nearest is None else {'minimal_norm': nearest})
        exported = (by_attack or {}).get(f'{name}{EXPORTED}')
        if exported is not None:
            change = max(score.more['largest_change'] for score in exported.scores)
            plain = {key: _plain(value) for key, value in exported.metrics.items()}
            results[name]['exported'] = {**plain, 'largest_change': change}
    return {
        'config': config,
        'checkpoint': checkpoint,
        'seed': seed,
        'samples': samples,
        'results': results,
        **{key: value for key, value in more.items() if value},
        'versions': versions(),
    }


def minimal_norm(attack: SeededAttack, result: AttackResult, clean: AttackResult | None) -> dict[str, Any] | None:
    """Return how far the errors are that an attack found, in [0, 1] pixel units; None unless it seeks the nearest.

    A quartile is the smallest distance within which a quarter, half or three quarters of the images have an error,
    those that are wrong without an attack at 0; None where too few have one within the attack's radius. The true
    distances may be smaller, but not larger. ``found`` is the share of the images that have an error.

    Args:
        attack: the attack.
        result: its result.
        clean: the result without an attack.
    """
    if clean is None or not isinstance(attack, Attack) or not attack.seeks_nearest:
        return None
    norms = result.minimal_norms(clean.scores)
    if not norms:
        return None
    quartiles = np.quantile(norms, (0.25, 0.5, 0.75), method='inverted_cdf')  # which does not average with infinity
    return {'norm': attack.norm, 'quartiles': _plain(quartiles), 'found': float(np.mean(np.isfinite(norms)))}


def describe_evaluation(clean: AttackResult, model: Any, **more: Any) -> dict[str, Any]:
    """Return how the images went through the model: the mode, and the sizes of inputs and labels (height x width).

    Labels without a size, those of classifiers, have None.

    Args:
        clean: the result of the clean images.
        model: the bare model.
        **more: further entries.
    """
    mode = (getattr(model, 'test_cfg', None) or {}).get('mode')
    inputs, labels = ([score.sizes[position] for score in clean.scores] for position in (0, 1))
    return {'mode': mode, 'input_size': _range(inputs) or None, 'label_size': _range(labels) or None, **more}


def per_class_section(results: Mapping[str, AttackResult], classes: Sequence[str] | None) -> dict[str, Any] | None:
    """Return IoU, or accuracy of a classifier, of each class in percent; None where nothing is known.

    Args:
        results: the results by attack, the clean images among them.
        classes: the names of the classes; numbers where there are none.
    """
    values = {name: result.per_class for name, result in results.items()}
    known = {name: row for name, row in values.items() if row is not None}
    if not known:
        return None
    count = len(next(iter(known.values())))
    names = list(classes) if classes and len(classes) == count else [str(number) for number in range(count)]
    segmented = any(score.sizes[1] for result in results.values() for score in result.scores[:1])
    percent = {name: [None if value is None else 100 * value for value in row] for name, row in known.items()}
    return {'metric': 'IoU' if segmented else 'accuracy', 'classes': names, 'values': percent}


def _range(sizes: Sequence[tuple[int, ...]]) -> str:
    """Return '240x320', or '213x240..320x340' where sizes differ: the smallest and the largest by area; '' for none."""
    if not sizes:
        return ''
    ordered = sorted(set(sizes), key=lambda size: (math.prod(size), size))
    return '..'.join('x'.join(map(str, size)) for size in dict.fromkeys((ordered[0], ordered[-1])))


def _plain(value: Any) -> Any:
    """Return the value of a metric in JSON's types, whole: numbers, None for NaN, lists, objects, and texts."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (Tensor, np.ndarray, np.generic)):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple, set)):
        return [_plain(entry) for entry in value]
    if isinstance(value, (bool, int, str)) or value is None:
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return number if math.isfinite(number) else None
