"""Write the exact CIFAR-10 subset (an .npz with train_images, train_labels, ...) as a folder of PNGs per class.

python benchmarks/cifar10_subset.py cifar10_lossless_subset.npz data/cifar10_subset
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from rich.progress import track


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', type=Path)
    parser.add_argument('out', type=Path)
    args = parser.parse_args()
    with np.load(args.source) as arrays:
        names = [str(name) for name in arrays['label_names']]
        for split in ('train', 'test'):
            for name in names:
                (args.out / split / name).mkdir(parents=True, exist_ok=True)
            images, labels = arrays[f'{split}_images'], arrays[f'{split}_labels']
            for number, (image, label) in enumerate(track(zip(images, labels, strict=True), split, len(images))):
                Image.fromarray(image).save(args.out / split / names[label] / f'{number:05d}.png')


if __name__ == '__main__':
    main()
