"""Rebuild a table of the duality paper: python tools/reproduce.py table8 --budget smoke

Trains every row on every seed, tests it under the attacks of the columns, and writes TABLE.json, .md, .tex, .csv and
.html with our numbers next to the published ones. Snakemake runs it: whatever it takes can follow, such as --dry-run,
--cores, --keep-going, --rerun-triggers or --executor slurm. The same command after a kill continues: finished trainings
and tests are kept, a training resumes from its newest checkpoint. Needs `pip install samat-mm[tables]`.
"""

import argparse
import fcntl
import os
import sys
from importlib.util import find_spec
from pathlib import Path

from samat_mm.command_line import errors_as_sentences
from samat_mm.crafting.protocols import PROTOCOLS
from samat_mm.errors import InputError
from samat_mm.files.access import writing
from samat_mm.tables.reading import read_table

SNAKEFILE = Path(__file__).parents[1] / 'workflow' / 'Snakefile'


def command(args: argparse.Namespace, others: list[str]) -> list[str]:
    """Return the call of Snakemake.

    Raises:
        ValueError: if the table, a row or the budget is unknown, or Snakemake is not installed.
    """
    table = read_table(args.table, args.budget, args.protocol)
    rows = [table.row(key).key for key in args.rows or ()]
    if find_spec('snakemake') is None:
        raise InputError('tools/reproduce.py needs Snakemake; run `pip install samat-mm[tables]`.')
    settings = dict(table=args.table, budget=args.budget, protocol=args.protocol, out=args.out)
    if rows:
        settings['rows'] = ','.join(rows)
    if args.seeds:
        settings['seeds'] = ','.join(map(str, args.seeds))
    said = {other.partition('=')[0] for other in others}
    cores = [] if said & {'--cores', '-c', '--jobs', '-j'} else ['--cores', 'all']
    given = [f'{name}={value}' for name, value in settings.items()]
    fixed = ['--snakefile', str(SNAKEFILE), '--rerun-incomplete', '--nolock']  # see claim()
    return [sys.executable, '-m', 'snakemake', *fixed, *cores, *others, '--config', *given]


def claim(out: Path) -> None:
    """Keep other runs away from a folder until this process ends, however it ends.

    Snakemake's own lock outlives a process that is killed.

    Raises:
        ValueError: if another process has the folder.
        OSError: if the folder cannot be made.
    """
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    held = os.open(out / '.lock', os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(f'another process rebuilds a table in {out}; wait for it, or give another --out.') from error
    os.set_inheritable(held, True)


def main() -> None:
    """Parse, and hand over to Snakemake."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('table', help="'table2' to 'table9', or the path of a file in the same form")
    parser.add_argument('--budget', default='paper', help="'smoke' (minutes on two cores), 'short', 'paper', or a file")
    parser.add_argument('--protocol', choices=list(PROTOCOLS), default='strict', help='how attacks see a segmentor')
    parser.add_argument('--rows', nargs='+', help='some rows of the table only')
    parser.add_argument('--seeds', nargs='+', type=int, help='other seeds than 0, 1 and 2')
    parser.add_argument('--out', type=Path, metavar='DIR', help='tables/TABLE-BUDGET by default')
    args, others = parser.parse_known_args()
    with errors_as_sentences():
        args.out = args.out or Path('tables') / f'{Path(args.table).stem}-{Path(args.budget).stem}'
        call = command(args, others)
        claim(args.out)
        os.execve(call[0], call, {**os.environ, 'OMP_NUM_THREADS': '1'})


if __name__ == '__main__':
    main()
