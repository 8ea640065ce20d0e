"""Rebuild a table of the duality paper: python tools/reproduce.py table8 --budget smoke

Trains every row on every seed, tests it under the attacks of the columns, and writes TABLE.json, .md, .tex, .csv and
.html with our numbers next to the published ones. Snakemake runs it: whatever it takes can follow, such as --dry-run,
--cores, --keep-going, --rerun-triggers or --executor slurm. The same command after a kill continues: finished trainings
and tests are kept, a training resumes from its newest checkpoint. Needs `pip install samat-mm[tables]`.
"""

import argparse
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from samat_mm.command_line import errors_as_sentences
from samat_mm.errors import InputError
from samat_mm.tables.budgets import NAMES
from samat_mm.tables.table import read_table

SNAKEFILE = Path(__file__).parents[1] / 'workflow' / 'Snakefile'


def command(args: argparse.Namespace, others: list[str]) -> list[str]:
    """Return the call of Snakemake.

    Raises:
        ValueError: if the table, a row or the budget is unknown, or Snakemake is not installed.
    """
    table = read_table(args.table, args.budget)
    rows = [table.row(key).key for key in args.rows or ()]
    if find_spec('snakemake') is None:
        raise InputError('tools/reproduce.py needs Snakemake; run `pip install samat-mm[tables]`.')
    out = args.out or Path('tables') / f'{args.table}-{args.budget}'
    settings = dict(table=table.name, budget=args.budget, out=out)
    if rows:
        settings['rows'] = ','.join(rows)
    if args.seeds:
        settings['seeds'] = ','.join(map(str, args.seeds))
    said = {other.partition('=')[0] for other in others}
    cores = [] if said & {'--cores', '-c', '--jobs', '-j'} else ['--cores', 'all']
    given = [f'{name}={value}' for name, value in settings.items()]
    return [sys.executable, '-m', 'snakemake', '--snakefile', str(SNAKEFILE), *cores, *others, '--config', *given]


def main() -> None:
    """Parse, and hand over to Snakemake."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('table', help="'table2' to 'table9'")
    parser.add_argument('--budget', choices=NAMES, default='paper', help='smoke: minutes on two cores; short: a tenth')
    parser.add_argument('--rows', nargs='+', help='some rows of the table only')
    parser.add_argument('--seeds', nargs='+', type=int, help='other seeds than 0, 1 and 2')
    parser.add_argument('--out', type=Path, metavar='DIR', help='tables/TABLE-BUDGET by default')
    args, others = parser.parse_known_args()
    with errors_as_sentences():
        call = command(args, others)
        sys.exit(subprocess.run(call, env={**os.environ, 'OMP_NUM_THREADS': '1'}, check=False).returncode)


if __name__ == '__main__':
    main()
