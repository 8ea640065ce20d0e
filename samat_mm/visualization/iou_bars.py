"""The IoU of one image by class, clean next to attacked."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from samat_mm.visualization.lettering import INK, LINE, font, shorten

CLEAN_COLOUR, ATTACKED_COLOUR = (150, 150, 150), (213, 94, 0)  # grey, and Okabe and Ito's vermilion
ROW = 24  # pixels per class
BAR = 8  # pixels, the thickness of a bar
SWATCH = 10  # pixels, the side of the square in the colour of the class


def image_ious(counts: Sequence[tuple[int, int, int]], classes: int) -> np.ndarray:
    """Return the IoU of each class in one image, shape (classes,), NaN for classes in neither label nor prediction.

    Args:
        counts: (class, intersection, union) in pixels for each class that occurs, as :meth:`Task.judge` returns them.
        classes: number of classes.
    """
    ious = np.full(classes, np.nan)
    for number, intersection, union in counts:
        ious[number] = intersection / union
    return ious


def draw_iou_bars(
    clean: np.ndarray,
    attacked: np.ndarray,
    names: Sequence[str],
    palette: Sequence[Sequence[int]],
    size: tuple[int, int],
) -> np.ndarray:
    """Draw two bars for each class in the image or its predictions, for as many classes as fit.

    The largest drop comes first. A class that is not in the image has an IoU of 0 if it is predicted, and otherwise
    none, written as 'none'.

    Args:
        clean: IoU of each class on the clean image in [0, 1], NaN for classes without one.
        attacked: the same under attack.
        names: names of the classes.
        palette: colours of the classes, so the chart also serves as the key to the maps.
        size: height and width in pixels.

    Returns:
        An RGB picture of that size, 8 bits.
    """
    height, width = size
    picture = Image.new('RGB', (width, height), 'white')
    draw = ImageDraw.Draw(picture)
    occurring = np.flatnonzero(~(np.isnan(clean) & np.isnan(attacked)))
    # A class without an IoU counts as fully right: it is neither present nor predicted.
    drops = np.nan_to_num(clean, nan=1.0) - np.nan_to_num(attacked, nan=1.0)
    order = occurring[np.argsort(-drops[occurring], kind='stable')]
    shown = order[: max(1, (height - LINE) // ROW)]
    left, right = int(0.34 * width), width - int(font().getlength('none → 100')) - 6
    for number, index in enumerate(shown):
        top = number * ROW
        draw.rectangle((0, top + 5, SWATCH, top + 5 + SWATCH), fill=tuple(palette[index]), outline=INK)
        draw.text((SWATCH + 6, top + 2), shorten(str(names[index]), left - SWATCH - 12), INK, font())
        for offset, iou, colour in ((2, clean, CLEAN_COLOUR), (2 + BAR, attacked, ATTACKED_COLOUR)):
            if not np.isnan(iou[index]):
                end = left + round(float(iou[index]) * (right - left))
                draw.rectangle((left, top + offset, max(end, left + 1), top + offset + BAR - 1), fill=colour)
        change = f'{_percent(clean[index])} → {_percent(attacked[index])}'
        draw.text((width, top + 2), change, INK, font(), anchor='ra')
    _draw_key(draw, left, len(shown) * ROW + 2, f'{len(shown)} of {len(occurring)} classes')
    return np.asarray(picture)


def _percent(iou: float) -> str:
    return 'none' if np.isnan(iou) else f'{100 * iou:.0f}'


def _draw_key(draw: ImageDraw.ImageDraw, left: float, top: float, count: str) -> None:
    draw.text((0, top), count, INK, font())
    for text, colour in (('clean', CLEAN_COLOUR), ('under attack', ATTACKED_COLOUR)):
        draw.rectangle((left, top + 4, left + BAR, top + 4 + BAR), fill=colour)
        draw.text((left + BAR + 5, top), text, INK, font())
        left += BAR + font().getlength(text) + 20
