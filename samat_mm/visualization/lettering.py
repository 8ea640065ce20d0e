"""Text in pictures that are composed pixel by pixel, without a figure's layout engine."""

from functools import lru_cache
from pathlib import Path

import matplotlib
from PIL import ImageFont

SIZE = 13  # pixels
LINE = 18  # pixels from one line to the next
INK = (27, 27, 27)


@lru_cache(maxsize=1)
def font() -> ImageFont.FreeTypeFont:
    """Return the font that matplotlib ships, which has the letters of most languages."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), 'fonts', 'ttf', 'DejaVuSans.ttf')), SIZE)


def shorten(text: str, width: float) -> str:
    """Return the text, shortened with an ellipsis if it is wider than ``width`` pixels."""
    if font().getlength(text) <= width:
        return text
    while text and font().getlength(f'{text}…') > width:
        text = text[:-1]
    return f'{text.rstrip()}…'
