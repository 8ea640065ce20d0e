"""The report of an evaluation as one self-contained page."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from samat_mm.files.outputs import file_name
from samat_mm.visualization.class_bars import draw_class_bars, drawn_classes
from samat_mm.visualization.document import CLEAN, attacks_of, in_255ths, main_metric
from samat_mm.visualization.inline import inline, svg
from samat_mm.visualization.robustness_curves import draw_curves

TEMPLATE = Path(__file__).with_name('report.html.jinja')
MOST_PICTURES = 24
COST = ('forwards', 'backwards', 'seconds')
RADII = ('eps', 'step_size', 'bound')  # parameters in [0, 1] pixel units
LABELS = {
    'mode': 'inference',
    'input_size': 'input (height x width)',
    'label_size': 'scored at (height x width)',
    'craft_dtype': 'precision of the attacks',
    'seconds': 'wall time',
}


def write_html(report: Mapping[str, Any], path: str | Path, pictures: Sequence[Path] = ()) -> None:
    """Write the report of an evaluation as a page: tables, figures, pictures and how it was measured.

    Everything is inside the one file, which may be mailed, printed and read without a network.

    Args:
        report: the document of an evaluation.
        path: of the file.
        pictures: of images under attack, as ``ATTACK/NUMBER-NAME.png``, each in the folder that :func:`file_name`
            calls by its attack; those of attacks that are not in the report are left out. The same image under each
            attack stands together; the first 24 are shown.

    Raises:
        ValueError: if the report holds no metric on clean images.
        OSError: if a picture cannot be read.
    """
    shown = _by_image(pictures, list(attacks_of(report)))
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
        TEMPLATE.read_text(encoding='utf-8')
    )
    text = page.render(
        report=report,
        name=Path(report['config']).stem,
        summary=_summary(report),
        metric=main_metric(report),
        metrics=_metrics(report),
        rows=[_row(name, values, report) for name, values in _lines(report)],
        sanity=report.get('sanity', []),
        curves=svg(draw_curves(report), 'curves'),
        bars=svg(draw_class_bars(report), 'bars'),
        drawn_classes=drawn_classes(report),
        per_class=_per_class(report),
        measured=_measured(report),
        parameters={name: _parameters(values) for name, values in attacks_of(report).items()},
        pictures={
            stem: [(attack, inline(picture)) for _, attack, picture in group]
            for stem, group in groupby(shown[:MOST_PICTURES], key=lambda entry: entry[0])
        },
        counts=(min(len(shown), MOST_PICTURES), len(shown)),
    )
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding='utf-8')


def _summary(report: Mapping[str, Any]) -> str:
    """Return the result in a sentence."""
    metric, attacks = main_metric(report), attacks_of(report)
    text = f'{metric} {_number(report["results"][CLEAN][metric])} on {report["samples"]} clean images'
    measured = {name: values[metric] for name, values in attacks.items() if values.get(metric) is not None}
    if not measured:
        return f'{text}.'
    worst = min(measured, key=measured.__getitem__)
    of_all = f', the lowest of {len(measured)} attacks' if len(measured) > 1 else ''
    return f'{text}, {_number(measured[worst])} under {worst}{of_all}.'


def _by_image(pictures: Sequence[Path], attacks: Sequence[str]) -> list[tuple[str, str, Path]]:
    """Return the name of the image, the attack and the path, by image and then in the order of the attacks."""
    found = [
        (picture.stem, attack, picture)
        for attack in attacks
        for picture in pictures
        if picture.parent.name == file_name(attack)
    ]
    return sorted(found, key=lambda entry: entry[0])


def _lines(report: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the results under each name, and after them those of the 8-bit files that were made of the images."""
    for name, values in report['results'].items():
        yield name, values
        if 'exported' in values:
            yield f'{name}, 8-bit files', values['exported']


def _metrics(report: Mapping[str, Any]) -> list[str]:
    """Return the metrics that are numbers, the main one first, those of attacks alone (worst cases) last."""
    names = [main_metric(report)]
    for values in report['results'].values():
        names += [
            name
            for name, value in values.items()
            if name not in (*names, *COST) and (value is None or isinstance(value, (int, float)))
        ]
    return names


def _row(name: str, values: Mapping[str, Any], report: Mapping[str, Any]) -> dict[str, Any]:
    attack, metric = values.get('attack', {}), main_metric(report)
    clean, attacked = report['results'][CLEAN][metric], values.get(metric)
    both = name != CLEAN and clean is not None and attacked is not None
    return {
        'name': name,
        'radius': f'{attack.get("norm", "")} {in_255ths(attack["eps"])}' if 'eps' in attack else '',
        'steps': attack.get('steps', ''),
        'drop': _number(clean - attacked) if both else '',
        'metrics': {key: _number(values[key]) for key in _metrics(report) if key in values},
        'cost': {key: f'{values[key]:.1f}'.removesuffix('.0') for key in COST if values.get(key) is not None},
    }


def _per_class(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the column titles and, by class, the texts of a table."""
    values = report.get('per_class')
    if not values:
        return {}
    columns = zip(*values['values'].values(), strict=True)
    rows = [(name, [_number(cell) for cell in cells]) for name, cells in zip(values['classes'], columns, strict=True)]
    return {'metric': values['metric'], 'columns': list(values['values']), 'rows': rows}


def _measured(report: Mapping[str, Any]) -> dict[str, str]:
    """Return what identifies the evaluation, by what the page calls it."""
    entries = {
        'config': report['config'],
        'checkpoint': report['checkpoint'],
        'seed': report['seed'],
        'images': report['samples'],
    }
    for key, value in report.get('evaluation', {}).items():
        if value is not None:
            entries[LABELS.get(key, key.replace('_', ' '))] = _duration(value) if key == 'seconds' else value
    versions = report.get('versions', {})
    return {**entries, 'versions': ', '.join(f'{name} {version}' for name, version in versions.items())}


def _parameters(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    attack = values.get('attack', {})
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in attack.items()}
    fractions = {key: f'{texts[key]} ({in_255ths(attack[key])})' for key in RADII if key in attack}
    change = values.get('exported', {}).get('largest_change')
    exported = {} if change is None else {'largest change in the 8-bit files': f'{255 * change:.2f}/255'}
    return list({**texts, **fractions, **exported}.items())


def _number(value: float | None) -> str:
    return 'NaN' if value is None else f'{value:.2f}'


def _duration(seconds: float) -> str:
    return f'{seconds:.1f} s ({timedelta(seconds=round(seconds))} h)'
