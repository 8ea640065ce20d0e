"""The texts and tables of the page of an evaluation, from its document."""

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from samat_mm.visualization.document import CLEAN, attacks_of, in_255ths, main_metric, units

COST = ('forwards', 'backwards', 'seconds')
RADII = ('eps', 'step_size', 'bound')  # parameters in [0, 1] pixel units
LABELS = {
    'mode': 'inference',
    'input_size': 'input (height x width)',
    'label_size': 'scored at (height x width)',
    'craft_dtype': 'precision of the attacks',
    'protocol': 'protocol of the attacks',
    'made_on': 'attacks made on',
    'seconds': 'wall time',
}


def summary(report: Mapping[str, Any]) -> str:
    """Return the result in a sentence."""
    metric, attacks = main_metric(report), attacks_of(report)
    text = f'{metric} {_number(report["results"][CLEAN][metric])} on {report["samples"]} clean {units(report)}'
    measured = {name: values[metric] for name, values in attacks.items() if values.get(metric) is not None}
    if not measured:
        return f'{text}.'
    worst = min(measured, key=measured.__getitem__)
    of_all = f', the lowest of {len(measured)} attacks' if len(measured) > 1 else ''
    return f'{text}, {_number(measured[worst])} under {worst}{of_all}.'


def lines(report: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the results under each name, and after them those of the 8-bit files that were made of the images."""
    for name, values in report['results'].items():
        yield name, values
        if 'exported' in values:
            yield f'{name}, 8-bit files', values['exported']


def metrics(report: Mapping[str, Any]) -> list[str]:
    """Return the metrics that are numbers, the main one first, those of attacks alone (worst cases) last."""
    names = [main_metric(report)]
    for values in report['results'].values():
        names += [
            name
            for name, value in values.items()
            if name not in (*names, *COST) and (value is None or isinstance(value, (int, float)))
        ]
    return names


def row(name: str, values: Mapping[str, Any], report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the texts of a row of the results, by column."""
    attack, metric = values.get('attack', {}), main_metric(report)
    clean, attacked = report['results'][CLEAN][metric], values.get(metric)
    both = name != CLEAN and clean is not None and attacked is not None
    return {
        'name': name,
        'radius': f'{attack.get("norm", "")} {in_255ths(attack["eps"])}' if 'eps' in attack else '',
        'steps': attack.get('steps', ''),
        'drop': _number(clean - attacked) if both else '',
        'metrics': {key: _number(values[key]) for key in metrics(report) if key in values},
        'cost': {key: f'{values[key]:.1f}'.removesuffix('.0') for key in COST if values.get(key) is not None},
    }


def per_class(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the column titles and, by class, the texts of a table."""
    values = report.get('per_class')
    if not values:
        return {}
    columns = zip(*values['values'].values(), strict=True)
    rows = [(name, [_number(cell) for cell in cells]) for name, cells in zip(values['classes'], columns, strict=True)]
    return {'metric': values['metric'], 'columns': list(values['values']), 'rows': rows}


def measured(report: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings that identify the evaluation, by their names on the page."""
    entries = {
        'config': report['config'],
        'checkpoint': report['checkpoint'],
        'seed': report['seed'],
        units(report): report['samples'],
    }
    for key, value in report.get('evaluation', {}).items():
        if value is not None and key != 'unit':
            entries[LABELS.get(key, key.replace('_', ' '))] = _setting(key, value)
    versions = report.get('versions', {})
    return {**entries, 'versions': ', '.join(f'{name} {version}' for name, version in versions.items())}


def origin(report: Mapping[str, Any]) -> dict[str, str]:
    """Return what the numbers can be made again from, by its names on the page; without the text of the config."""
    found = report.get('provenance', {})
    data, checkpoint, code, training = (found.get(key) or {} for key in ('data', 'checkpoint', 'code', 'training'))
    seed = training.get('seed')
    entries = {
        'command': found.get('command'),
        'config, SHA-256': (found.get('config') or {}).get('sha256'),
        'checkpoint, SHA-256': checkpoint.get('sha256'),
        'checkpoint, bytes': checkpoint.get('bytes'),
        'weights, digest': checkpoint.get('weights'),
        'seed of the training': None if seed is None else str(seed),
        'data set': ', '.join(f'{key} {value}' for key, value in data.items() if value not in (None, {}, [])),
        'commit of samat-mm': code.get('commit') and code['commit'] + (' and changes' if code.get('dirty') else ''),
    }
    return {label: str(value) for label, value in entries.items() if value}


def parameters(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the parameters of an attack and their values as texts, radii also in 255ths."""
    attack = values.get('attack', {})
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in attack.items()}
    fractions = {key: f'{texts[key]} ({in_255ths(attack[key])})' for key in RADII if key in attack}
    change = values.get('exported', {}).get('largest_change')
    exported = {} if change is None else {'largest change in the 8-bit files': f'{255 * change:.2f}/255'}
    return list({**texts, **fractions, **exported, **_distances(values)}.items())


def _distances(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the distances to the nearest errors as a text, by its title, if the attack has looked for them."""
    quartiles = values.get('minimal_norm', {}).get('quartiles', ())
    text = ', '.join('none' if quartile is None else in_255ths(quartile) for quartile in quartiles)
    return {'quartiles of the distance to the nearest error': text} if text else {}


def _number(value: float | None) -> str:
    return 'NaN' if value is None else f'{value:.2f}'


def _setting(key: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return ', '.join(f'{name} {entry}' for name, entry in value.items())
    return _duration(value) if key == 'seconds' else value


def _duration(seconds: float) -> str:
    return f'{seconds:.1f} s' if seconds < 60 else f'{timedelta(seconds=round(seconds))} h'
