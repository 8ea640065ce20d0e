"""Rebuild a table of the duality paper: samat-mm reproduce table8 --budget smoke

Trains every row on every seed, tests it under the attacks of the columns, and writes TABLE.json, .md, .tex, .csv and
.html with our numbers next to the published ones. Snakemake runs it: whatever it takes can follow, such as --dry-run,
--cores, --keep-going, --rerun-triggers or --executor slurm. The same command after a kill continues: finished trainings
and tests are kept, a training resumes from its newest checkpoint. A dry run says first how long all of it takes;
`all --dry-run` says it for every table. Needs `pip install samat-mm[tables]`.
"""

import argparse
import fcntl
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from samat_mm.errors import InputError
from samat_mm.files.access import writing
from samat_mm.workflow import SNAKEFILE

STEP_TIMES = Path(__file__).parents[1] / 'tables' / 'step_times.json'
PROTOCOLS = ('strict', 'paper-compat')
DRY_RUN = {'--dry-run', '--dryrun', '-n'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a table; Snakemake gets all others."""
    parser.add_argument('table', help="'table2' to 'table10', 'duality', 'all', or the path of a file")
    parser.add_argument('--budget', default='paper', help="'smoke' (minutes on two cores), 'short', 'paper', or a file")
    parser.add_argument('--protocol', choices=PROTOCOLS, default='strict', help='how attacks see a segmentor')
    parser.add_argument('--rows', nargs='+', help='some rows of the table only')
    parser.add_argument('--seeds', nargs='+', type=int, help='other seeds than 0, 1 and 2')
    parser.add_argument('--out', type=Path, metavar='DIR', help='tables/TABLE-BUDGET by default')
    parser.add_argument(
        '--step-times', type=Path, default=STEP_TIMES, metavar='FILE', help='of benchmarks/step_times.py'
    )
    parser.set_defaults(others=[])


def run(args: argparse.Namespace) -> None:
    """Announce or check the table, and hand over to Snakemake.

    Raises:
        ValueError: if an argument does not fit, or Snakemake is not installed.
        OSError: if something cannot be read or written.
    """
    dry = bool(DRY_RUN & set(args.others))
    if args.table == 'all' and args.rows:
        raise InputError('the rows of the tables differ; name one table with --rows.')
    if dry:
        announce(names_at(args) if args.table == 'all' else [args.table], args)
    if args.table == 'all':
        if not dry:
            one_by_one(args, args.others)
        return
    args.out = args.out or Path('tables') / f'{Path(args.table).stem}-{Path(args.budget).stem}'
    call = command(args, args.others)
    if not dry:
        claim(args.out)
    os.execve(call[0], call, {**os.environ, 'OMP_NUM_THREADS': '1'})


def command(args: argparse.Namespace, others: list[str]) -> list[str]:
    """Return the call of Snakemake.

    Raises:
        ValueError: if the table, a row or the budget is unknown, or Snakemake is not installed.
    """
    from samat_mm.tables.reading import read_table

    table = read_table(args.table, args.budget, args.protocol)
    rows = [table.row(key).key for key in args.rows or ()]
    if find_spec('snakemake') is None:
        raise InputError('rebuilding a table needs Snakemake; run `pip install samat-mm[tables]`.')
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


def announce(names: list[str], args: argparse.Namespace) -> None:
    """Print the number of jobs of the tables, and how long they take, as far as it was measured.

    Raises:
        ValueError: if a table, a row or the budget is unknown.
        OSError: if the measured times cannot be read.
    """
    from rich.console import Console

    from samat_mm.tables.estimate import estimate, read_costs, show
    from samat_mm.tables.reading import read_table

    costs, estimates = read_costs(args.step_times), []
    for name in names:
        table = read_table(name, args.budget, args.protocol)
        table = table.with_rows(args.rows) if args.rows else table
        table = table.with_seeds(args.seeds) if args.seeds else table
        try:
            estimates.append(estimate(table, costs))
        except InputError as error:
            print(f'No estimate for {table.name}: {error}')
    if estimates:
        show(estimates, costs, Console())


def names_at(args: argparse.Namespace) -> list[str]:
    """Return the tables to which the protocol applies."""
    from samat_mm.tables.reading import read_table, table_names

    names = table_names()
    return [name for name in names if args.protocol == 'strict' or read_table(name).metric == 'mIoU']


def one_by_one(args: argparse.Namespace, others: list[str]) -> None:
    """Rebuild every table, each by a run of this command of its own; stop at the first that fails."""
    options = ['--budget', args.budget, '--protocol', args.protocol]
    options += ['--seeds', *map(str, args.seeds)] if args.seeds else []
    for name in names_at(args):
        out = (args.out or Path('tables')) / f'{name}-{Path(args.budget).stem}'
        call = [sys.executable, '-m', 'samat_mm', 'reproduce', name, *options, '--out', out, *others]
        status = subprocess.run(call).returncode
        if status:
            sys.exit(status)
