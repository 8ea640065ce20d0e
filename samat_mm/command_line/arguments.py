"""The options of every command line tool."""

import argparse
from typing import Any

from mmengine.config import DictAction

LARGEST_SEED = 2**32 - 1  # numpy's limit
STARTED_BY = {  # environment variables that a launcher sets, from which MMEngine finds the other processes
    'pytorch': ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_NODELIST'),
    'mpi': ('OMPI_COMM_WORLD_LOCAL_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_RANK'),
}


class Overrides(DictAction):
    """Entries of the config as ``KEY=VALUE``."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        """Add the entries to the existing ones.

        Raises:
            argparse.ArgumentError: if one is not an entry, or its brackets do not match.
        """
        for entry in values:
            key, sign, _ = entry.partition('=')
            if not sign or not all(key.strip().split('.')):
                raise argparse.ArgumentError(self, f'entries are KEY=VALUE, as optim_wrapper.rho=0.1; got {entry!r}')
            try:
                super().__call__(parser, namespace, [entry], option_string)
            except (AssertionError, ValueError, RecursionError) as error:
                raise argparse.ArgumentError(self, f'{entry!r} cannot be read: {error}') from error


def seed_number(text: str) -> int:
    """Return the seed in an argument, within the range that every generator accepts."""
    if not text.strip().isdecimal() or int(text) > LARGEST_SEED:
        raise argparse.ArgumentTypeError(f'a seed is a whole number from 0 to {LARGEST_SEED}; got {text!r}')
    return int(text)


def common_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options of every tool."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--work-dir', help='folder of logs and checkpoints; default work_dirs/CONFIG')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=Overrides,
        metavar='KEY=VALUE',
        help='override the config, for instance optim_wrapper.rho=0.1',
    )
    parser.add_argument('--launcher', choices=['none', *STARTED_BY], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser
