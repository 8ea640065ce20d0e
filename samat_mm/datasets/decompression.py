"""Read archives as byte streams that are checked to their end and limited in size.

gzip, bzip2 and xz have a checksum of their whole content, but ``tarfile`` stops at the end of its own format, before
the comparison. An uncompressed tar file only has checksums of its headers: a flipped bit in the content of a file goes
unnoticed here unless the image or label no longer decodes.
"""

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

from samat_mm.datasets.sources import too_large
from samat_mm.errors import InputError

CHUNK = 1 << 16
LARGEST_READ = 1 << 20  # bytes per read of tarfile: a header may state a name of any length
XZ_MEMORY = 1 << 28  # `xz -9` needs 65 MiB to unpack; a header may ask for 4 GiB
MOST_EXPANSION = 200  # upper bound for images and their labels; zeros compress a thousand times
UNSUSPICIOUS = 1 << 26  # unpacked bytes that are accepted from an archive of any size


def check_size(archive: Path, size: int, limit: int) -> None:
    """Refuse an archive that unpacks to more bytes than the limit, or than compressed images could.

    Args:
        archive: path of the archive.
        size: unpacked bytes, as far as known.
        limit: maximum number of bytes.

    Raises:
        ValueError: if the size is too large.
    """
    if size > limit:
        raise too_large(archive, limit)
    if size > max(UNSUSPICIOUS, MOST_EXPANSION * archive.stat().st_size):
        raise InputError(
            f'{archive} unpacks to more than {MOST_EXPANSION} times its size, which images never do; give another one.'
        )


class Stream(io.BufferedReader):
    """The unpacked bytes of an archive, up to a limit.

    Args:
        raw: the unpacked bytes.
        archive: path of the archive, for errors.
        limit: maximum number of bytes; reading more raises an error.
    """

    def __init__(self, raw: io.RawIOBase, archive: Path, limit: int) -> None:
        super().__init__(raw, CHUNK)
        self._archive, self._limit = archive, limit

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to ``size`` bytes; raises ValueError if that is too many."""
        if size is None or not 0 <= size <= LARGEST_READ:
            raise InputError(f'{self._archive} is damaged: a header has {size} bytes; download it again.')
        check_size(self._archive, self.tell() + size - LARGEST_READ, self._limit)
        return super().read(size)

    def seek(self, position: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a position by unpacking everything before it; raises ValueError if that is too far."""
        check_size(self._archive, position - LARGEST_READ, self._limit)
        return super().seek(position, whence)


def open_stream(path: Path, limit: int) -> Stream:
    """Open a tar file, compressed or not.

    Args:
        path: the file.
        limit: maximum number of unpacked bytes.
    """
    with path.open('rb') as file:
        start = file.read(6)
    raw: Any
    if start.startswith(b'\x1f\x8b'):
        raw = gzip.GzipFile(path, 'rb')
    elif start.startswith(b'BZh'):
        raw = _Decompressed(path, bz2.BZ2Decompressor)
    elif start == b'\xfd7zXZ\x00':
        raw = _Decompressed(path, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY))
    else:
        raw = io.FileIO(path)
    return Stream(raw, path, limit)


class _Decompressed(io.RawIOBase):
    """A bzip2 or xz file, possibly several concatenated ones; the standard library ignores any other data after them.

    Args:
        path: the file.
        new: function that creates a decompressor.
    """

    def __init__(self, path: Path, new: Callable[[], Any]) -> None:
        self._file, self._new = path.open('rb'), new
        self._decompressor, self._position = new(), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def tell(self) -> int:
        return self._position

    def seek(self, position: int, whence: int = io.SEEK_SET, /) -> int:
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation('only positions from the start are known')
        if position < self._position:
            self._file.seek(0)
            self._decompressor, self._position = self._new(), 0
        while self._position < position and self._next(min(CHUNK, position - self._position)):
            pass
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        data = self._next(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _next(self, size: int) -> bytes:
        """Return some of the next bytes; none only at the end of the file."""
        data = b''
        while not data:
            if self._decompressor.eof:
                rest = self._decompressor.unused_data.lstrip(b'\0') or self._after_zeros()
                if not rest:
                    break
                self._decompressor = self._new()
                data = self._decompressor.decompress(rest, size)
            else:
                chunk = self._file.read(CHUNK) if self._decompressor.needs_input else b''
                if not chunk and self._decompressor.needs_input:
                    raise EOFError('it ends too early')
                data = self._decompressor.decompress(chunk, size)
        self._position += len(data)
        return data

    def _after_zeros(self) -> bytes:
        """Return the bytes after the padding that may end a compressed file."""
        for chunk in iter(lambda: self._file.read(CHUNK), b''):
            if chunk := chunk.lstrip(b'\0'):
                return chunk
        return b''
