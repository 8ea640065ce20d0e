"""What the command line tools have in common."""

import argparse
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.config import Config, DictAction

from samat_mm.errors import InputError, MissingFileError

DEBUG_VARIABLE = 'SAMAT_MM_DEBUG'
EXPECTED = (
    ValueError,
    TypeError,
    OSError,
    FloatingPointError,
    LookupError,
    RuntimeError,
    AssertionError,
    ImportError,
    AttributeError,
    subprocess.CalledProcessError,
)


def common_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options of every tool."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--work-dir', help='where logs and checkpoints go; work_dirs/CONFIG by default')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='override the config, for instance optim_wrapper.rho=0.1'
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser


def load_config(args: argparse.Namespace) -> Config:
    """Return the config that the arguments ask for.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no config.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if not Path(args.config).is_file():
        raise MissingFileError(f'config {args.config} is not a file; the configs are in configs/.')
    if Path(args.config).suffix not in ('.py', '.json', '.yaml', '.yml'):
        raise InputError(f'the config comes first and is a .py file; got {args.config}.')
    config = Config.fromfile(args.config)
    if args.cfg_options:
        config.merge_from_dict(args.cfg_options)
    config.launcher = args.launcher
    config.work_dir = args.work_dir or config.get('work_dir') or str(Path('work_dirs') / Path(args.config).stem)
    if args.launcher == 'pytorch' and not torch.cuda.is_available():
        _start_on_processors(config)
    return config


def _start_on_processors(config: Config) -> None:
    """Join the other processes over gloo: MMEngine takes it that there is a GPU for each."""
    torch.distributed.init_process_group('gloo')
    config.setdefault('model_wrapper_cfg', {'type': 'MMDistributedDataParallel', 'device_ids': None})


@contextmanager
def errors_as_sentences() -> Iterator[None]:
    """End the program with one sentence and status 1 where the input is at fault.

    ``SAMAT_MM_DEBUG=1`` shows where the error came from.
    """
    try:
        yield
    except EXPECTED as error:
        if os.environ.get(DEBUG_VARIABLE) == '1':
            traceback.print_exc()
        said = isinstance(error, (ValueError, OSError, FloatingPointError))
        hint = '' if said else f' ({type(error).__name__}; {DEBUG_VARIABLE}=1 shows where)'
        print(f'error: {error}{hint}', file=sys.stderr)
        sys.exit(1)
