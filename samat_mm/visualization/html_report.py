"""The report of an evaluation as one self-contained page."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from samat_mm.files.outputs import file_name, write_text
from samat_mm.visualization import report_texts as texts
from samat_mm.visualization.class_bars import class_key, draw_class_bars, drawn_classes
from samat_mm.visualization.document import attacks_of, config_path, main_metric, units
from samat_mm.visualization.marked_words import fooled, shown_sentences
from samat_mm.visualization.page import inline_panels, render, svg
from samat_mm.visualization.robustness_curves import draw_curves

TEMPLATE = Path(__file__).with_name('report.html.jinja')
RESULTS = Path(__file__).with_name('results.html.jinja')
MOST_PICTURES = 24
MOST_SENTENCES = 24


def write_html(report: Mapping[str, Any], path: str | Path, pictures: Sequence[Path] = ()) -> None:
    """Write the report of an evaluation as a page: tables, figures, pictures and settings.

    Everything is in one file, which can be mailed, printed and read without a network.

    Args:
        report: the document of an evaluation.
        path: path of the file.
        pictures: pictures of images under attack, as ``ATTACK/NUMBER-NAME.png``, with the folder named by
            :func:`file_name` of the attack. Pictures of attacks that are not in the report are left out. The pictures
            of one image are shown together; the first 24 images are shown.

    Raises:
        ValueError: if the report has no metric on clean images.
        OSError: if a picture cannot be read.
    """
    shown = _by_image(pictures, list(attacks_of(report)))
    text = render(
        TEMPLATE,
        **_results(report),
        name=config_path(report).stem,
        summary=texts.summary(report),
        sentences=shown_sentences(report, MOST_SENTENCES),
        fooled=fooled(report),
        sanity=report.get('sanity', []),
        curves=[svg(figure, f'curves{number}') for number, figure in enumerate(draw_curves(report))],
        bars=[svg(figure, f'bars{number}') for number, figure in enumerate(draw_class_bars(report))],
        class_key=class_key(report),
        drawn_classes=drawn_classes(report),
        per_class=texts.per_class(report),
        measured=texts.measured(report),
        origin=texts.origin(report),
        config_text=report.get('provenance', {}).get('config', {}).get('text'),
        parameters={name: texts.parameters(values) for name, values in attacks_of(report).items()},
        pictures={
            stem: [(attack, inline_panels(picture)) for _, attack, picture in group]
            for stem, group in groupby(shown[:MOST_PICTURES], key=lambda entry: entry[0])
        },
        counts=(min(len(shown), MOST_PICTURES), len(shown)),
    )
    write_text(Path(path), text)


def results_html(report: Mapping[str, Any]) -> str:
    """Return the table of the results alone, for a notebook.

    Raises:
        ValueError: if the report has no metric on clean images.
    """
    return render(RESULTS, **_results(report))


def _results(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the table of the results shows."""
    return {
        'metric': main_metric(report),
        'metrics': texts.metrics(report),
        'rows': [texts.row(name, values, report) for name, values in texts.lines(report)],
        'units': units(report),
    }


def _by_image(pictures: Sequence[Path], attacks: Sequence[str]) -> list[tuple[str, str, Path]]:
    """Return the name of the image, the attack and the path, sorted by image and then in the order of the attacks."""
    found = [
        (picture.stem, attack, picture)
        for attack in attacks
        for picture in pictures
        if picture.parent.name == file_name(attack)
    ]
    return sorted(found, key=lambda entry: entry[0])
