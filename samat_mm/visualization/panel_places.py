"""Where the pictures of a file with several panels are, kept in the file itself."""

import json

from PIL import Image
from PIL.PngImagePlugin import PngInfo

KEY = 'panels'
Place = tuple[str, tuple[int, int, int, int]]  # title; left, top, right and bottom in pixels


def described(places: list[Place]) -> PngInfo:
    """Return the entry of a PNG file that says where its panels are."""
    info = PngInfo()
    info.add_itxt(KEY, json.dumps(places))
    return info


def panels_of(picture: Image.Image) -> list[tuple[str, Image.Image]]:
    """Return the titles and the panels of a picture; the picture itself, without a title, where none are known."""
    try:
        places = json.loads(picture.info.get(KEY, '[]'))
        return [(str(title), picture.crop(tuple(box))) for title, box in places] or [('', picture)]
    except (ValueError, TypeError):  # somebody else's entry of that name
        return [('', picture)]
