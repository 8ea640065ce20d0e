"""Pack what a machine with a GPU but no network lacks into one archive: wheels, and CIFAR-10 in jpeg form."""

import argparse
import io
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Collection, Iterable
from importlib import metadata
from pathlib import Path

import numpy as np
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LIMIT = 45 * 2**20
PYTHON = '3.12'
PLATFORMS = ('manylinux_2_28_x86_64', 'manylinux_2_27_x86_64', 'manylinux_2_17_x86_64', 'manylinux2014_x86_64')
# Packages of the machine; their requirements are installed as well.
PRESENT = ('torch', 'torchvision', 'numpy', 'matplotlib', 'rich', 'scikit-learn', 'pytest', 'hypothesis')
PRESENT_AS = ('opencv-python',)  # installed from a distribution of another name
DATA = 'cifar10.npz'


def main(argv: list[str]) -> int:
    """Write the archive.

    Raises:
        RuntimeError: if a package has no wheel for that machine, or the archive exceeds its limit.
    """
    parser = argparse.ArgumentParser(prog='gpu.py pack', description=__doc__)
    parser.add_argument('--out', type=Path, required=True, metavar='FILE.tar', help='the archive')
    parser.add_argument('--data', type=Path, metavar='FILE.npz', help='CIFAR-10 as jpeg streams; default: none')
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        wheels = Path(folder) / 'wheels'
        wheels.mkdir()
        for name, version in sorted(missing().items()):
            fetch(name, version, wheels)
        size = sum(10240 + wheel.stat().st_size for wheel in wheels.iterdir())
        data = None if args.data is None else fitting(args.data, LIMIT - size - 20480)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(args.out, 'w') as archive:
            archive.add(wheels, 'wheels')
            if data is not None:
                entry = tarfile.TarInfo(DATA)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
        count = len(list(wheels.iterdir()))
    size = args.out.stat().st_size
    if size > LIMIT:
        raise RuntimeError(f'{args.out} has {size / 2**20:.1f} MiB, more than {LIMIT / 2**20:.0f}.')
    print(f'{args.out}: {count} wheels, {size / 2**20:.1f} MiB')
    return 0


def missing() -> dict[str, str]:
    """Return the distributions that samat-mm needs and the machine lacks, with the versions installed here."""
    wanted = closure(['torchattacks', 'scipy', 'tqdm', *samat_mm()], skipped=['requests'])  # see the Makefile
    names = wanted - closure(PRESENT) - set(PRESENT_AS)
    return {name: metadata.version(name) for name in names}


def samat_mm() -> list[str]:
    """Return the requirements of samat-mm on top of the stack."""
    requirements = map(Requirement, metadata.requires('samat-mm') or [])
    return [each.name for each in requirements if each.marker is None or each.marker.evaluate({'extra': 'mm'})]


def closure(names: Iterable[str], skipped: Collection[str] = ()) -> set[str]:
    """Return these distributions and all their requirements, by normalised names."""
    found: set[str] = set()
    waiting = [canonicalize_name(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in found or name in skipped:
            continue
        found.add(name)
        for requirement in map(Requirement, _requirements(name)):
            if requirement.marker is None or requirement.marker.evaluate({'extra': '', 'python_version': PYTHON}):
                waiting.append(canonicalize_name(requirement.name))
    return found


def _requirements(name: str) -> list[str]:
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError:  # a CPU build of torch has no CUDA packages
        return []


def fetch(name: str, version: str, folder: Path) -> None:
    """Put the wheel of a distribution for that machine into the folder, building it if there is only the source.

    Raises:
        RuntimeError: if there is none, or it would only fit this machine.
    """
    pip, pinned = [sys.executable, '-m', 'pip', '--quiet', '--disable-pip-version-check'], f'{name}=={version}'
    target = ['--python-version', PYTHON, '--implementation', 'cp', *(f'--platform={each}' for each in PLATFORMS)]
    download = [*pip, 'download', '--no-deps', '--only-binary=:all:', *target, '--dest', str(folder), pinned]
    if subprocess.run(download, capture_output=True).returncode == 0:
        return
    before = set(folder.iterdir())
    built = subprocess.run([*pip, 'wheel', '--no-deps', '--wheel-dir', str(folder), pinned], capture_output=True)
    new = set(folder.iterdir()) - before
    if built.returncode or not all(re.search(r'-none-any\.whl$', wheel.name) for wheel in new):
        raise RuntimeError(f'{pinned} has no wheel for CPython {PYTHON}, and a matching one could not be built here.')


def fitting(path: Path, limit: int) -> bytes:
    """Return the largest part of CIFAR-10 within ``limit`` bytes: all test images, and the first training images.

    Raises:
        RuntimeError: if not even a tenth of the training images fits.
    """
    with np.load(path) as arrays:
        whole = dict(arrays)
    images = len(whole['train_labels'])
    for tenths in range(10, 0, -1):
        count = images * tenths // 10
        end = whole['train_offsets'][count]
        part = {'train_bytes': whole['train_bytes'][:end], 'train_offsets': whole['train_offsets'][: count + 1]}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **{**whole, **part, 'train_labels': whole['train_labels'][:count]})
        if buffer.tell() <= limit:
            print(f'{count} of {images} training images')
            return buffer.getvalue()
    raise RuntimeError(f'{path} does not fit into the {limit / 2**20:.1f} MiB that are left.')
