"""Rows of titled pictures, composed into one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from samat_mm.files.access import writing
from samat_mm.visualization.lettering import INK, LINE, font, shorten
from samat_mm.visualization.panel_places import Place, described

SIDE = 320  # pixels, the maximum length of a picture's longer side
GAP = 8  # pixels between pictures
Panel = tuple[str, np.ndarray]
Row = tuple[str, Sequence[Panel]]


def compose(rows: Sequence[Row]) -> tuple[Image.Image, list[Place]]:
    """Return rows of titled pictures as one, each row under its name, and the place of each picture in it.

    Small pictures are enlarged by a whole factor, without smoothing; large ones are scaled down.
    """
    strips = [_strip(name, panels) for name, panels in rows]
    width = max(strip.width for strip, _ in strips) + 2 * GAP
    figure = Image.new('RGB', (width, sum(strip.height + GAP for strip, _ in strips) + GAP), 'white')
    places: list[Place] = []
    top = GAP
    for strip, boxes in strips:
        figure.paste(strip, (GAP, top))
        places += [(title, (GAP + x, top + y, GAP + right, top + end)) for title, (x, y, right, end) in boxes]
        top += strip.height + GAP
    return figure, places


def save_figure(rows: Sequence[Row], path: str | Path) -> None:
    """Write what :func:`compose` returns; the file suffix selects the format.

    A PNG file also says where each picture is (:func:`~samat_mm.visualization.panel_places.panels_of`), so a page can
    arrange them as its width permits.
    """
    figure, places = compose(rows)
    with writing(path):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.save(path, compress_level=3, pnginfo=described(places))  # PNG compression takes most of the time


def _strip(name: str, panels: Sequence[Panel]) -> tuple[Image.Image, list[Place]]:
    """Return the pictures side by side at the same height, below their titles, and the place of each."""
    height, _ = displayed_size(panels[0][1])
    tiles = [_resize(picture, height) for _, picture in panels]
    lines = max(title.count('\n') + 1 for title, _ in panels)
    top = LINE * (lines + bool(name))
    strip = Image.new('RGB', (sum(tile.width + GAP for tile in tiles) - GAP, top + height), 'white')
    draw = ImageDraw.Draw(strip)
    draw.text((0, 0), shorten(name, strip.width), INK, font())
    places, left = [], 0
    for (title, _), tile in zip(panels, tiles, strict=True):
        for number, line in enumerate(reversed(title.split('\n')), 1):
            draw.text((left, top - LINE * number), shorten(line, tile.width), INK, font())
        strip.paste(tile, (left, top))
        places.append((title, (left, top, left + tile.width, top + height)))
        left += tile.width + GAP
    return strip, places


def displayed_size(picture: np.ndarray) -> tuple[int, int]:
    """Return the height and width at which a picture is shown."""
    longer = max(picture.shape[:2])
    factor = SIDE // longer if longer <= SIDE else SIDE / longer
    height, width = (max(1, round(factor * side)) for side in picture.shape[:2])
    return height, width


def _resize(picture: np.ndarray, height: int) -> Image.Image:
    """Return an 8-bit picture of a given height; values in [0, 1] are rounded to 8 bits."""
    array = picture if picture.dtype == np.uint8 else np.round(255 * np.clip(picture, 0, 1)).astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(array))
    size = (max(1, round(image.width * height / image.height)), height)
    return image.resize(size, Image.Resampling.NEAREST if height >= image.height else Image.Resampling.BOX)
