"""Check a data set file by file, so training does not stop at a bad file hours later."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from samat_mm.datasets import rotten_tomatoes, voc
from samat_mm.datasets.loading import check_labels, list_names
from samat_mm.datasets.stanford_background import read_regions
from samat_mm.errors import InputError, UserError
from samat_mm.files.images import decode

Track = Callable[[Sequence[Any], str], Iterable[Any]]  # shows progress over items, with a title


@dataclass
class Findings:
    """The findings in a prepared folder: counts to report, and names with problems."""

    counts: dict[str, int] = field(default_factory=dict)
    problems: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def explain(self) -> str:
        """Return one line per kind of problem, with the number of names and the first few."""
        return '\n'.join(
            f'{len(names)} {kind}: {", ".join(names[:3])}{", ..." if len(names) > 3 else ""}'
            for kind, names in self.problems.items()
        )


def check_rotten_tomatoes(root: Path, track: Track) -> Findings:
    """Check Rotten Tomatoes: both files there, and a sentence in every line."""
    findings = Findings()
    for name, file in track(list(rotten_tomatoes.FILES.items()), 'checking'):
        with _noting(findings, root):
            findings.counts[name] = len(rotten_tomatoes.read_sentences(root / file))
            if not findings.counts[name]:
                findings.problems['file(s) without sentences'].append(file)
    return findings


def check_stanford(root: Path, track: Track) -> Findings:
    """Check Stanford Background: images and labels in pairs, readable and of equal size, labels in range."""
    images = list_names(root / 'images', '.jpg')
    labels = list_names(root / 'labels', '.regions.txt')
    findings = Findings({'images': len(images), 'labels': len(labels)})
    _pair(findings, images, labels)
    for name in track(sorted(images & labels), 'checking'):
        with _noting(findings, root):
            width, height = decode('image', root / 'images' / f'{name}.jpg').size
            read_regions(root / 'labels' / f'{name}.regions.txt', (height, width))
    if not images:
        findings.problems['folder without images'].append('images')
    return findings


def check_voc(root: Path, track: Track) -> Findings:
    """Check PASCAL VOC: every name in a list has a readable image, and labels of its size in range.

    The lists are train.txt, val.txt and, if there are labels for it, the augmented one.
    """
    findings = Findings()
    for split in ('train', 'val'):
        path = root / voc.LISTS / f'{split}.txt'
        names: list[str] = []
        with _noting(findings, root):
            names = voc.read_names(path)
        if not names:
            findings.problems['list(s) missing or empty'].append(f'{voc.LISTS}/{split}.txt')
        findings.counts[split] = len(names)
        _check_voc_split(findings, root, names, voc.LABELS, split, track)
    if (root / voc.AUGMENTED_LABELS).is_dir():
        with _noting(findings, root):
            names = voc.added_names(root)
            findings.counts[voc.AUGMENTED] = findings.counts['train'] + len(names)
            _check_voc_split(findings, root, names, voc.AUGMENTED_LABELS, voc.AUGMENTED, track)
    return findings


def _check_voc_split(
    findings: Findings, root: Path, names: Sequence[str], labels_folder: str, split: str, track: Track
) -> None:
    """Check images and their labels; problems go to the findings."""
    images = list_names(root / voc.IMAGES, '.jpg')
    labels = list_names(root / labels_folder, '.png')
    _pair(findings, images & set(names), labels & set(names), set(names))
    for name in track([name for name in names if name in images and name in labels], f'checking {split}'):
        with _noting(findings, root):
            image = decode('image', root / voc.IMAGES / f'{name}.jpg')
            label = decode('labels', root / labels_folder / f'{name}.png')
            if image.size != label.size:
                sizes = f'{label.size} (width, height), but the image is {image.size}'
                raise InputError(f'labels {name}.png are {sizes}; repair the file.')
            check_labels(np.asarray(label), voc.NUM_CLASSES, f'{name}.png')


def _pair(findings: Findings, images: set[str], labels: set[str], names: set[str] | None = None) -> None:
    """Record names that lack an image or labels; without a list of names, all images and labels count."""
    expected = images | labels if names is None else names
    for kind, there in (('without an image', images), ('without labels', labels)):
        if expected - there:
            findings.problems[kind] += sorted(expected - there)


@contextmanager
def _noting(findings: Findings, root: Path) -> Iterator[None]:
    """Record an unreadable file and continue, so one run reports all of them."""
    try:
        yield
    except UserError as error:
        findings.problems['damaged'].append(str(error).replace(f'{root}{os.sep}', ''))
