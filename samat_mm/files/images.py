"""Decode images and labels, with errors that name the file."""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
from PIL import Image

from samat_mm.errors import InputError, UserError
from samat_mm.files.access import reading

UNDECODABLE = (OSError, ValueError, SyntaxError, AssertionError, EOFError, struct.error, cv2.error)  # decoder errors


@contextmanager
def naming(what: str, path: Any) -> Iterator[None]:
    """Turn the errors of reading and decoding a file into one that names the file.

    Args:
        what: content of the file, such as 'image'.
        path: the file.

    Raises:
        FileNotFoundError: if the file is missing.
        OSError: if the operating system refuses to read it.
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
    """Refuse inputs of unlimited size: a device, a pipe, or an image with more pixels than Pillow accepts.

    Args:
        what: content of the file, such as 'image'.
        path: a local path; other paths are not checked.

    Raises:
        ValueError: if it is not a file, or its header declares more than ``PIL.Image.MAX_IMAGE_PIXELS``.
    """
    if not os.path.exists(path):
        return
    if not os.path.isfile(path):
        raise InputError(f'{what} {path} is a folder, a device or a pipe, not a file; replace it.')
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
        return  # not an image for Pillow; another decoder may read it or report the error


def decode(what: str, path: Any) -> Image.Image:
    """Decode the whole image, because a truncated file still has a good header.

    Args:
        what: content of the file, such as 'image'.
        path: the file.

    Raises:
        FileNotFoundError: if the file is missing.
        OSError: if the operating system refuses to read it.
        ValueError: if it cannot be decoded, or is too large.
    """
    check_file(what, path)
    with naming(what, path), Image.open(path) as image:
        image.load()
        return image
