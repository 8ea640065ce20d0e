"""Figures and pictures as text inside a page."""

import base64
import io
from pathlib import Path

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

from samat_mm.visualization.landscape import STYLE


def svg(figure: Figure | None, name: str) -> Markup:
    """Return a figure as an SVG element with the page's colours of text and lines, in light and in dark."""
    if figure is None:
        return Markup()
    stream = io.StringIO()
    with matplotlib.rc_context({'svg.fonttype': 'none', 'svg.hashsalt': name}):
        figure.savefig(stream, format='svg', transparent=True, metadata={'Date': None})
    text = stream.getvalue()
    text = text[text.index('<svg') :].replace('stroke: #000000', 'stroke: currentColor')
    text = text.replace(f'stroke: {STYLE["grid.color"].lower()}', 'stroke: var(--line)')
    for reference in ('id="', 'url(#', 'href="#'):  # two figures on a page must not share them
        text = text.replace(reference, f'{reference}{name}-')
    return Markup(text)  # matplotlib has escaped the names in it


def inline(path: Path) -> str:
    """Return a picture as a data address, as JPEG in full colour resolution where that is smaller."""
    original, stream = path.read_bytes(), io.BytesIO()
    with Image.open(io.BytesIO(original)) as picture:
        kind = Image.MIME[str(picture.format)]
        picture.convert('RGB').save(stream, 'JPEG', quality=88, subsampling=0)
    kind, data = min((kind, original), ('image/jpeg', stream.getvalue()), key=lambda item: len(item[1]))
    return f'data:{kind};base64,{base64.b64encode(data).decode()}'
