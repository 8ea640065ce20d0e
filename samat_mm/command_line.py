"""What the command line tools have in common."""

import argparse
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, DictAction
from mmengine.fileio import load
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from samat_mm.config_errors import DEBUG_VARIABLE, building, merging, reading
from samat_mm.config_parts import check_parts
from samat_mm.errors import InputError, MissingFileError, UnsupportedError
from samat_mm.files import writable_folder
from samat_mm.sentences import sentence_of

BUG = 'If this comes from samat-mm rather than from code of your own, please report it with the traceback above.'
INTERRUPTED = 130  # as shells have it
LARGEST_SEED = 2**32 - 1  # of numpy
STARTED_BY = {  # what a launcher tells its processes, by which MMEngine finds the others
    'pytorch': ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_NODELIST'),
    'mpi': ('OMPI_COMM_WORLD_LOCAL_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_RANK'),
}


class Overrides(DictAction):
    """Entries of the config as ``KEY=VALUE``."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        """Add the entries to those that are there.

        Raises:
            argparse.ArgumentError: if one is none, or its brackets do not match.
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
    """Return the seed that an argument gives, which every generator must take."""
    if not text.strip().isdecimal() or int(text) > LARGEST_SEED:
        raise argparse.ArgumentTypeError(f'a seed is a whole number from 0 to {LARGEST_SEED}; got {text!r}')
    return int(text)


def common_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options of every tool."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--work-dir', help='where logs and checkpoints go; work_dirs/CONFIG by default')
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


def load_config(args: argparse.Namespace) -> Config:
    """Return the config that the arguments ask for.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no config, or a part of it has not the form that every config has.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if not Path(args.config).is_file():
        raise MissingFileError(f'config {args.config} is not a file; the configs are in configs/.')
    if Path(args.config).suffix not in ('.py', '.json', '.yaml', '.yml'):
        raise InputError(f'the config comes first and is a .py file; got {args.config}.')
    unset = [name for name in STARTED_BY.get(args.launcher, ()) if name not in os.environ]
    if unset:
        raise InputError(f'--launcher {args.launcher} is for processes that it started; {", ".join(unset)} is not set.')
    with reading(args.config):
        if Path(args.config).suffix != '.py' and not isinstance(load(args.config), dict):
            raise InputError(f'config {args.config} must be a mapping, with a model and the other parts by name.')
        config = Config.fromfile(args.config)
    with merging(args.config):
        config.merge_from_dict(args.cfg_options or {})
    check_parts(config)
    config.launcher = args.launcher
    given = args.work_dir if args.work_dir is not None else config.get('work_dir')
    config.work_dir = str(Path('work_dirs') / Path(args.config).stem if given is None else given)
    if args.launcher == 'pytorch' and not torch.cuda.is_available():
        _start_on_processors(config)
    return config


def build_runner(config: Config) -> Any:
    """Build the runner that a config names by its ``runner_type``, or else MMEngine's.

    Raises:
        ValueError: if the config cannot be built; the message has MMEngine's reason.
        OSError: if nothing can be written to the folder of the run.
    """
    writable_folder(config.work_dir, '--work-dir')
    with building(config):
        return RUNNERS.build(config) if 'runner_type' in config else Runner.from_cfg(config)


def build_runner_and_model(config: Config) -> Runner:
    """Build a runner as :func:`build_runner` does, which must have its model before it runs.

    Raises:
        ValueError: if the config cannot be built; the message has MMEngine's reason.
        TypeError: if the runner builds its model later, as MMEngine's FlexibleRunner does.
        OSError: if nothing can be written to the folder of the run.
    """
    runner = build_runner(config)
    if not isinstance(getattr(runner, 'model', None), torch.nn.Module):
        raise UnsupportedError(
            f'the {type(runner).__name__} of config {config.filename} has no model until it runs, but weights must be '
            'loaded into it before; use --cfg-options runner_type=Runner.'
        )
    return runner


def _start_on_processors(config: Config) -> None:
    """Join the other processes over gloo: MMEngine takes it that there is a GPU for each."""
    torch.distributed.init_process_group('gloo')
    config.setdefault('model_wrapper_cfg', {'type': 'MMDistributedDataParallel', 'device_ids': None})


@contextmanager
def errors_as_sentences() -> Iterator[None]:
    """End the program with status 1 on an error: with one sentence if a user can mend it.

    A bug, of the package's or of the user's own code, keeps its traceback. ``SAMAT_MM_DEBUG=1`` shows where the other
    errors came from, too. Interrupted from the keyboard, the program ends quietly with status 130.
    """
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        sentence = sentence_of(error)
        if sentence is None or os.environ.get(DEBUG_VARIABLE) == '1':
            traceback.print_exc()
        print(BUG if sentence is None else f'error: {sentence}', file=sys.stderr)
        sys.exit(1)
