"""The arguments that commands share."""

import argparse
import os
import shlex
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samat_mm.errors import InputError
from samat_mm.files.inputs import config_file

if TYPE_CHECKING:
    from mmengine.config import Config

LARGEST_SEED = 2**32 - 1  # numpy's limit
STARTED_BY = {  # environment variables that a launcher sets, the number of this process first
    'pytorch': ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_NODELIST'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}


def seed_number(text: str) -> int:
    """Return the seed in an argument, within the range that every generator accepts."""
    if not text.strip().isdecimal() or int(text) > LARGEST_SEED:
        raise argparse.ArgumentTypeError(f'a seed is a whole number from 0 to {LARGEST_SEED}; got {text!r}')
    return int(text)


def config_entry(text: str) -> str:
    """Return an argument that is an entry of a config."""
    key, sign, _ = text.partition('=')
    if not sign or not all(key.strip().split('.')):
        raise argparse.ArgumentTypeError(f'entries are KEY=VALUE, as optim_wrapper.rho=0.1; got {text!r}')
    return text


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of every command that runs a config."""
    parser.add_argument('--work-dir', help='folder of logs and checkpoints; default work_dirs/CONFIG')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action='extend',
        type=config_entry,
        default=[],
        metavar='KEY=VALUE',
        help='override the config, for instance optim_wrapper.rho=0.1',
    )
    parser.add_argument('--launcher', choices=['none', *STARTED_BY], default='none', help='what started the processes')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument('--verbose', action='store_true', help="show MMEngine's log, which is always written to a file")


def check_run_arguments(args: argparse.Namespace) -> None:
    """Refuse a config that is no file, and a launcher that did not start this process.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if something else does not fit.
    """
    config_file(args.config)  # the report has the name as it was given
    unset = [name for name in STARTED_BY.get(args.launcher, ()) if name not in os.environ]
    if unset:
        raise InputError(f'--launcher {args.launcher} is for processes that it started; {", ".join(unset)} is not set.')


def is_first_process(args: argparse.Namespace) -> bool:
    """Tell whether this is the first or only process, before they are joined."""
    return args.launcher == 'none' or os.environ.get(STARTED_BY[args.launcher][0]) == '0'


def config_of(args: argparse.Namespace) -> 'Config':
    """Return the config that the arguments ask for.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a config, or a part of it is of the wrong kind.
    """
    from samat_mm.runners.config_files import load_config, parsed_options, read_config

    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    options: dict[str, Any] = parsed_options(args.cfg_options)
    config = load_config(args.config, options=options, work_dir=args.work_dir, launcher=args.launcher)
    if options and is_first_process(args):
        known = read_config(args.config)
        for name in {option.partition('.')[0] for option in options} - set(known):
            for close in get_close_matches(name, known, n=1):
                print(
                    f'note: --cfg-options adds {name}, which the config lacks; did you mean {close}?', file=sys.stderr
                )
    return config


def command_with(*more: str, without: Iterable[str] = ()) -> str:
    """Return the command of this process as it can be typed, with further arguments and without others."""
    file = Path(sys.argv[0])
    if file.name == '__main__.py':
        program = ['python', '-m', file.parent.name]
    else:
        program = ['python', sys.argv[0]] if file.suffix == '.py' else [file.name]
    given = [argument for argument in sys.argv[1:] if argument not in without]
    return shlex.join([*program, *given, *more])
