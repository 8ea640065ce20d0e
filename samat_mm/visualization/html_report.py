"""The report of an evaluation as one self-contained page."""

import base64
import io
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import matplotlib
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

from samat_mm.files.outputs import file_name
from samat_mm.visualization import report_texts as texts
from samat_mm.visualization.class_bars import draw_class_bars, drawn_classes
from samat_mm.visualization.document import attacks_of, main_metric, units
from samat_mm.visualization.landscape import STYLE
from samat_mm.visualization.marked_words import fooled, shown_sentences
from samat_mm.visualization.robustness_curves import draw_curves

TEMPLATE = Path(__file__).with_name('report.html.jinja')
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
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
        TEMPLATE.read_text(encoding='utf-8')
    )
    text = page.render(
        report=report,
        name=Path(report['config']).stem,
        summary=texts.summary(report),
        metric=main_metric(report),
        metrics=texts.metrics(report),
        rows=[texts.row(name, values, report) for name, values in texts.lines(report)],
        units=units(report),
        sentences=shown_sentences(report, MOST_SENTENCES),
        fooled=fooled(report),
        sanity=report.get('sanity', []),
        curves=_svg(draw_curves(report), 'curves'),
        bars=_svg(draw_class_bars(report), 'bars'),
        drawn_classes=drawn_classes(report),
        per_class=texts.per_class(report),
        measured=texts.measured(report),
        origin=texts.origin(report),
        config_text=report.get('provenance', {}).get('config', {}).get('text'),
        parameters={name: texts.parameters(values) for name, values in attacks_of(report).items()},
        pictures={
            stem: [(attack, _inline(picture)) for _, attack, picture in group]
            for stem, group in groupby(shown[:MOST_PICTURES], key=lambda entry: entry[0])
        },
        counts=(min(len(shown), MOST_PICTURES), len(shown)),
    )
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding='utf-8')


def _by_image(pictures: Sequence[Path], attacks: Sequence[str]) -> list[tuple[str, str, Path]]:
    """Return the name of the image, the attack and the path, sorted by image and then in the order of the attacks."""
    found = [
        (picture.stem, attack, picture)
        for attack in attacks
        for picture in pictures
        if picture.parent.name == file_name(attack)
    ]
    return sorted(found, key=lambda entry: entry[0])


def _svg(figure: Figure | None, name: str) -> Markup:
    """Return a figure as an SVG element with the page's text and line colours, for light and dark mode."""
    if figure is None:
        return Markup()
    stream = io.StringIO()
    with matplotlib.rc_context({'svg.fonttype': 'none', 'svg.hashsalt': name}):
        figure.savefig(stream, format='svg', transparent=True, metadata={'Date': None})
    text = stream.getvalue()
    text = text[text.index('<svg') :].replace('stroke: #000000', 'stroke: currentColor')
    text = text.replace(f'stroke: {STYLE["grid.color"].lower()}', 'stroke: var(--line)')
    for reference in ('id="', 'url(#', 'href="#'):  # figures on one page must not share ids
        text = text.replace(reference, f'{reference}{name}-')
    return Markup(text)  # matplotlib has escaped the names in it


def _inline(path: Path) -> str:
    """Return a picture as a data URL, as JPEG in full colour resolution if that is smaller."""
    original, stream = path.read_bytes(), io.BytesIO()
    with Image.open(io.BytesIO(original)) as picture:
        kind = Image.MIME[str(picture.format)]
        picture.convert('RGB').save(stream, 'JPEG', quality=88, subsampling=0)
    kind, data = min((kind, original), ('image/jpeg', stream.getvalue()), key=lambda item: len(item[1]))
    return f'data:{kind};base64,{base64.b64encode(data).decode()}'
