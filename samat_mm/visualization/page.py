"""Pages that need nothing but themselves: the look that all have in common, and figures and pictures within them."""

import base64
import io
from pathlib import Path
from typing import Any

import matplotlib
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

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
    return environment.get_template(template.name).render(**values)


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


def data_url(path: Path) -> str:
    """Return a picture as a data URL, as JPEG in full colour resolution if that is smaller.

    Raises:
        OSError: if it cannot be read.
    """
    original, stream = path.read_bytes(), io.BytesIO()
    with Image.open(io.BytesIO(original)) as picture:
        kind = Image.MIME[str(picture.format)]
        picture.convert('RGB').save(stream, 'JPEG', quality=88, subsampling=0)
    kind, data = min((kind, original), ('image/jpeg', stream.getvalue()), key=lambda item: len(item[1]))
    return f'data:{kind};base64,{base64.b64encode(data).decode()}'
