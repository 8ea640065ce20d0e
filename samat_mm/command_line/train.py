"""Train a model: samat-mm train configs/deeplabv3_voc_sam.py

Works with any MMEngine config; --amp keeps the method, so SAM stays SAM in mixed precision. A training that was stopped
continues with the same command and --resume.
"""

import argparse
from pathlib import Path

from samat_mm.command_line.arguments import (
    add_run_arguments,
    check_run_arguments,
    command_with,
    config_of,
    is_first_process,
    seed_number,
)
from samat_mm.command_line.endings import saying_on_interrupt
from samat_mm.files.inputs import checkpoint_file

NEWEST = 'auto'  # as in MMEngine's own tools


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a training."""
    parser.add_argument('config', help='a config file')
    parser.add_argument(
        '--resume', nargs='?', const=NEWEST, metavar='PATH', help='continue from PATH, or from the newest checkpoint'
    )
    parser.add_argument('--amp', action='store_true', help='train in mixed precision')
    parser.add_argument('--seed', type=seed_number, help='seed of the training; that of the config by default')
    parser.add_argument('--deterministic', action='store_true', help='use deterministic algorithms only')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate to the batch size, by auto_scale_lr.base_batch_size of the config',
    )
    add_run_arguments(parser)


def way_on(args: argparse.Namespace) -> str:
    """Return how to go on after an interrupt; '' in processes that leave it to the first one."""
    if not is_first_process(args):
        return ''
    if args.launcher != 'none':
        return 'To go on from the newest checkpoint, start the processes in the same way, with --resume.'
    given = ['--resume', *([args.resume] if args.resume not in (None, NEWEST) else [])]
    return f'To go on from the newest checkpoint: {command_with("--resume", without=given)}'


def run(args: argparse.Namespace) -> None:
    """Train.

    Raises:
        ValueError: if an argument or the config does not fit.
        OSError: if something cannot be read or written.
    """
    check_run_arguments(args)
    resume = args.resume or ''
    if resume.strip() and resume != NEWEST and '://' not in resume and not Path(resume).is_dir():
        checkpoint_file(resume)
    with saying_on_interrupt(way_on(args)):
        from samat_mm.api.training import train

        train(
            config_of(args),
            resume_from=args.resume,
            amp=args.amp,
            seed=args.seed,
            deterministic=args.deterministic,
            auto_scale_lr=args.auto_scale_lr,
            verbose=args.verbose,
        )
