"""Unpack, check and install a downloaded data set: samat-mm prepare-data stanford SOURCE

Brings the data set into the layout that the configs expect. The source is not changed, and nothing is written unless
all of it can be read.
"""

import argparse
import os
import sys
from functools import partial
from pathlib import Path

COMPLETE = {  # as published; trainaug is optional
    'rotten-tomatoes': {'positive': 5331, 'negative': 5331},
    'stanford': {'images': 715, 'labels': 715},
    'voc': {'train': 1464, 'val': 1449, 'trainaug': 10582},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a preparation."""
    parser.add_argument('dataset', choices=sorted(COMPLETE), help='the data set')
    parser.add_argument(
        'source', type=Path, help='archive (.tar, .tar.gz, .tar.bz2, .tar.xz, .zip) or folder; it is not changed'
    )
    parser.add_argument('--out', type=Path, default=Path('data'), help='folder of the data sets (default: %(default)s)')


def run(args: argparse.Namespace) -> int:
    """Put the data set into place and report the findings; returns 0 only if it is complete.

    Raises:
        ValueError: if the source is not such a data set.
        OSError: if something cannot be read or written.
    """
    from rich.console import Console
    from rich.progress import track
    from rich.table import Table

    from samat_mm.datasets.preparation import LAYOUTS, prepare

    console = Console(soft_wrap=True)
    already = os.path.lexists(args.out / LAYOUTS[args.dataset].target)
    target, findings = prepare(
        args.source, args.out, LAYOUTS[args.dataset], partial(track, console=console, transient=True)
    )
    if findings.problems:
        what = f'{target} is incomplete or damaged; delete it and run again' if already else f'{target} was not created'
        print(f'error: {what}, because of these problems:\n{findings.explain()}', file=sys.stderr)
        return 1

    table = Table(title=f'{target} {"was already there" if already else "is ready"}')
    for column in ('', 'found', 'complete'):
        table.add_column(column, justify='right' if column else 'left')
    complete = {name: COMPLETE[args.dataset][name] for name in findings.counts}
    for name, count in findings.counts.items():
        table.add_row(name, f'{count:,}', f'{complete[name]:,}')
    console.print(table)
    if findings.counts != complete:
        console.print('This is a subset of the published data set: its results cannot be compared with published ones.')
    return 0
