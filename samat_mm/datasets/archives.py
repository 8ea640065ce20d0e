"""List a tar or zip file after reading it to the end and comparing its checksums."""

import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from lzma import LZMAError
from pathlib import Path, PurePosixPath

from samat_mm.datasets.decompression import CHUNK, Stream, check_size, open_stream
from samat_mm.datasets.sources import Source
from samat_mm.errors import InputError, UserError
from samat_mm.files.access import reading, writing

MOST_MEMBERS = 500_000  # twelve times PASCAL VOC 2012; each takes about a kilobyte of memory
END_OF_ZIP = struct.Struct('<4s4HIIH')  # signature, disks, numbers of members, size and place of the list, comment
# Exceptions that the standard library raises for bytes that are not an archive.
DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    LZMAError,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    ArithmeticError,
    LookupError,
)


def list_archive(path: Path, limit: int, stack: ExitStack) -> Source:
    """Return the contents of an archive.

    Args:
        path: path of the file.
        limit: maximum number of unpacked bytes.
        stack: closes the archive; afterwards, nothing can be copied out of it.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is damaged, not an archive or too large, or would write outside the folder it is unpacked to.
    """
    with _decoding(path):
        with path.open('rb') as file:
            start = file.read(2)
        return _list_zip(path, limit, stack) if start == b'PK' else _list_tar(path, limit, stack)


@contextmanager
def _decoding(path: Path) -> Iterator[None]:
    """Name the archive in read errors."""
    try:
        with reading(path):
            yield
    except UserError:
        raise
    except tarfile.FilterError as error:
        raise InputError(f'{path} was refused: {error}.') from error
    except DAMAGED as error:
        reason = str(error) or type(error).__name__
        raise InputError(f'{path} cannot be unpacked ({reason}); it is damaged, download it again.') from error


def _list_tar(path: Path, limit: int, stack: ExitStack) -> Source:
    stream = stack.enter_context(open_stream(path, limit))
    try:
        tar = stack.enter_context(tarfile.TarFile(fileobj=stream))
    except tarfile.ReadError as error:
        raise InputError(f'{path} is neither a folder nor a tar or zip archive, or is damaged ({error}).') from error
    members: dict[str, tarfile.TarInfo] = {}

    def copy(name: str, folder: Path) -> None:
        with _decoding(path), writing(folder / name):
            tar.extract(members[name], folder, filter='data')

    source, total = Source(copy), 0
    for count, listed in enumerate(tar):
        # The folder to unpack to does not exist yet. Nothing lies below a file, so links on the disk cannot redirect.
        member = tarfile.data_filter(listed, str(path))
        total += member.size
        check_size(path, total, limit)
        _check_number(path, count)
        if member.size < 0:
            raise InputError(f'{path} is damaged: its member {member.name!r} has a negative size; download it again.')
        if member.isdir():
            source.add_folder(member.name)
        else:
            members[member.name] = listed
            source.add(member.name, member.size)
    _check_end(path, tar, stream)
    return source


def _check_end(path: Path, tar: tarfile.TarFile, stream: Stream) -> None:
    """Refuse a tar file with data after its last member: ``tarfile`` takes a damaged header for the end."""
    zeros = 0
    stream.seek(tar.offset)
    while block := stream.read(CHUNK):
        if block.strip(b'\0'):
            raise InputError(f'{path} is damaged, or several in one: data follows its last member; download it again.')
        zeros += len(block)
    if zeros < tarfile.BLOCKSIZE:
        raise InputError(f'{path} is cut off: its end is missing; download it again.')


def _list_zip(path: Path, limit: int, stack: ExitStack) -> Source:
    number = _read_end_of_zip(path)
    zipped = stack.enter_context(zipfile.ZipFile(path))
    members: dict[str, zipfile.ZipInfo] = {}

    def copy(name: str, folder: Path) -> None:
        with _decoding(path), writing(folder / name):
            zipped.extract(members[name], folder)

    listed = zipped.infolist()
    _check_number(path, len(listed))
    check_size(path, sum(member.file_size for member in listed), limit)
    if number not in (len(listed) % 0x10000, 0xFFFF) or min((member.header_offset for member in listed), default=0):
        raise InputError(f'{path} is damaged, or several in one: its list of members is incomplete; download it again.')
    source = Source(copy)
    for member in listed:
        name = PurePosixPath(member.filename.replace('\\', '/'))
        if name.is_absolute() or '..' in name.parts:  # zipfile would silently put it elsewhere
            raise InputError(f'{path} was refused: its member {member.filename!r} would land outside the folder.')
        with zipped.open(member) as file:
            while file.read(CHUNK):  # compares the checksum at the end
                pass
        if member.is_dir():
            source.add_folder(str(name))
        else:
            members[member.filename] = member
            source.add(member.filename, member.file_size)
    return source


def _read_end_of_zip(path: Path) -> int:
    """Return a zip file's stated number of members, modulo 65536; ``zipfile`` checks neither that nor the end.

    Raises:
        ValueError: if the end is missing, or something follows it.
    """
    with path.open('rb') as file:
        file.seek(max(0, path.stat().st_size - END_OF_ZIP.size - 0xFFFF))
        end = file.read()
    start = end.rfind(b'PK\x05\x06')
    if 0 <= start <= len(end) - END_OF_ZIP.size:
        *_, number, _, _, comment = END_OF_ZIP.unpack_from(end, start)
        if start + END_OF_ZIP.size + comment == len(end):
            return number
    raise InputError(f'{path} is cut off or followed by something else; download it again.')


def _check_number(path: Path, members: int) -> None:
    if members > MOST_MEMBERS:
        raise InputError(f'{path} has more than {MOST_MEMBERS:,} members, too many for this data set.')
