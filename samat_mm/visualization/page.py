"""Pages that need nothing but themselves: the look that all have in common, and figures and pictures within them."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

from samat_mm.terminal import pieces
from samat_mm.visualization.panel_places import panels_of
from samat_mm.visualization.style import STYLE

HERE = Path(__file__).parent


def render(template: Path, **values: Any) -> str:
    """Return a page. Its template can extend ``base.html.jinja``, which has the styles.

    Args:
        template: path of the template.
        **values: what it shows; texts are escaped.
    """
    environment = Environment(
        loader=FileSystemLoader([template.parent, HERE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters['breakable'] = breakable
    return environment.get_template(template.name).render(**values)


def breakable(text: str) -> Markup:
    """Return a name that may be broken between its words, as on the terminal: 'pgd-linf@<wbr>4/255'."""
    found = Markup()
    for word in pieces(text):
        found += word if word[-1] in ' -' else Markup('{}<wbr>').format(word)  # browsers break at these themselves
    return Markup(found.removesuffix('<wbr>'))


def svg(figure: Figure, name: str) -> Markup:
    """Return a figure as an SVG element with the page's text and line colours, for light and dark mode.

    Args:
        figure: the figure.
        name: prefix of its ids, which figures on one page must not share.
    """
    stream = io.StringIO()
    with matplotlib.rc_context({'svg.fonttype': 'none', 'svg.hashsalt': name}):
        figure.savefig(stream, format='svg', transparent=True, metadata={'Date': None})
    text = stream.getvalue()
    text = text[text.index('<svg') :]
    for paint in ('stroke', 'fill'):
        text = text.replace(f'{paint}: #000000', f'{paint}: currentColor')
    text = text.replace(f'stroke: {STYLE["grid.color"].lower()}', 'stroke: var(--line)')
    for reference in ('id="', 'url(#', 'href="#'):
        text = text.replace(reference, f'{reference}{name}-')
    return Markup(text)  # matplotlib has escaped the names in it


@dataclass(frozen=True)
class InlinePanel:
    """A panel within a page: its title, its address, and its width in units of the first panel."""

    title: str
    address: str
    width: float


def inline_panels(path: Path) -> list[InlinePanel]:
    """Return the panels of a picture file; the whole picture where it does not say where they are.

    Raises:
        OSError: if it cannot be read.
    """
    with Image.open(path) as picture:
        picture.load()
        panels = panels_of(picture)
        unit = panels[0][1].width
        return [InlinePanel(title, data_url(panel), round(panel.width / unit, 2)) for title, panel in panels]


def data_url(picture: Image.Image) -> str:
    """Return a picture as a data URL: PNG, or JPEG in full colour resolution if that is smaller."""
    encoded = []
    for kind, options in (('PNG', {}), ('JPEG', {'quality': 88, 'subsampling': 0})):
        stream = io.BytesIO()
        picture.convert('RGB').save(stream, kind, **options)
        encoded.append((Image.MIME[kind], stream.getvalue()))
    kind, data = min(encoded, key=lambda entry: len(entry[1]))
    return f'data:{kind};base64,{base64.b64encode(data).decode()}'
