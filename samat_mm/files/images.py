"""Decoding images and labels so that a bad file is named, whatever the decoder says of it."""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
from PIL import Image

from samat_mm.errors import InputError, UserError
from samat_mm.files.access import reading

UNDECODABLE = (OSError, ValueError, SyntaxError, AssertionError, EOFError, struct.error, cv2.error)  # of the decoders


@contextmanager
def naming(what: str, path: Any) -> Iterator[None]:
    """Turn the errors of reading and decoding a file into one that names the file.

    Args:
        what: what the file holds, such as 'image'.
        path: the file.

    Raises:
        FileNotFoundError: if the file is missing.
        OSError: if the operating system does not let it be read.
        ValueError: if it cannot be decoded.
    """
    try:
        with reading(f'{what} {path}'):
            yield
    except UserError:
        raise
    except UNDECODABLE as error:
        reason = str(error).strip().partition('\n')[0] or type(error).__name__
        raise InputError(f'{what} {path} cannot be decoded ({reason}); replace the file.') from error


def check_file(what: str, path: Any) -> None:
    """Refuse what would be read without end: a device or a pipe, or an image of more pixels than Pillow takes.

    Args:
        what: what the file holds, such as 'image'.
        path: on this machine; nothing is checked elsewhere.

    Raises:
        ValueError: if it is not a file, or its header declares more than ``PIL.Image.MAX_IMAGE_PIXELS``.
    """
    if not os.path.exists(path):
        return
    if not os.path.isfile(path):
        raise InputError(f'{what} {path} is no file, but a folder, a device or a pipe; replace it.')
    try:
        with Image.open(path) as image:
            width, height = image.size
        most = Image.MAX_IMAGE_PIXELS
        if most is not None and width * height > most:
            raise Image.DecompressionBombError(f'{width} x {height} pixels exceed the limit of {most} pixels')
    except Image.DecompressionBombError as error:
        reason = str(error).partition(',')[0]
        raise InputError(f'{what} {path} is too large ({reason}); replace the file.') from error
    except UNDECODABLE:
        return  # not for Pillow; another decoder may know it, and says what is wrong


def decode(what: str, path: Any) -> Image.Image:
    """Read all of an image, since a truncated file still has a good header.

    Args:
        what: what the file holds, such as 'image'.
        path: the file.

    Raises:
        FileNotFoundError: if the file is missing.
        OSError: if the operating system does not let it be read.
        ValueError: if it cannot be decoded, or is too large.
    """
    check_file(what, path)
    with naming(what, path), Image.open(path) as image:
        image.load()
        return image
