"""Write CIFAR-10 from an .npz as a folder of images per class: exact pixels as PNGs, jpeg streams as they are.

    python benchmarks/cifar10_subset.py cifar10_lossless_subset.npz data/cifar10_subset
    python benchmarks/cifar10_subset.py cifar10_jpeg.npz data/cifar10_jpeg

The .npz has `train_images` (N, 32, 32, 3), or `train_bytes` and `train_offsets` (image i is the file
`bytes[offsets[i]:offsets[i + 1]]`), `train_labels`, the same for `test`, and `label_names`.
"""

import argparse
import io
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.progress import track


def files(arrays: Mapping[str, Any], split: str) -> Iterator[bytes]:
    """Yield the contents of each image's file."""
    if f'{split}_bytes' in arrays:
        stream = arrays[f'{split}_bytes'].tobytes()
        yield from (stream[start:end] for start, end in pairwise(arrays[f'{split}_offsets']))
        return
    for image in arrays[f'{split}_images']:
        file = io.BytesIO()
        Image.fromarray(image).save(file, 'png')
        yield file.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path)
    parser.add_argument('out', type=Path)
    args = parser.parse_args()
    with np.load(args.source) as arrays:
        names = [str(name) for name in arrays['label_names']]
        for split in ('train', 'test'):
            suffix = 'jpg' if f'{split}_bytes' in arrays else 'png'
            for name in names:
                (args.out / split / name).mkdir(parents=True, exist_ok=True)
            labels = arrays[f'{split}_labels']
            for number, (label, file) in enumerate(
                zip(labels, track(files(arrays, split), split, len(labels)), strict=True)
            ):
                (args.out / split / names[label] / f'{number:05d}.{suffix}').write_bytes(file)


if __name__ == '__main__':
    main()
