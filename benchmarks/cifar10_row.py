"""Train and test a row of the duality paper's table 2 for SGD and SAM, with a schedule that fits the time.

    python benchmarks/cifar10_row.py --data cifar10_jpeg.npz --device cuda --minutes 5 --out row.json --work-dir DIR

PreActResNet-18 on CIFAR-10 as jpeg files, in bfloat16, with the paper's optimizer and steps at 75 and 90 % of the
epochs. Each method trains and tests in its own process, all at the same time on one device. A step of each is timed
once, side by side, and determines the number of epochs, which is the same for all, so SAM takes twice as many gradients
as SGD. Then the first 1,000 test images are tested, clean and under attack; whatever does not fit into the time is left
out. After a kill, repeat the command: it continues with the same number of epochs.
"""

import argparse
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from cifar10.processes import Run, read
from cifar10.report import show_table
from cifar10.settings import ATTACKS, CHOSEN, DEFAULT_MODEL, METHODS, Settings
from records import Deadline, write_json

from samat_mm.command_line.arguments import seed_number
from samat_mm.command_line.endings import errors_as_sentences
from samat_mm.crafting.crafting import PRECISIONS
from samat_mm.errors import InputError, MissingFileError
from samat_mm.files.access import reading
from samat_mm.files.outputs import writable_folder, writable_report


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', type=Path, required=True, metavar='FILE.npz', help='the jpeg images')
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu')
    parser.add_argument('--minutes', type=float, help='total time; this run ends before')
    parser.add_argument('--epochs', type=int, help='number of epochs, instead of what fits')
    parser.add_argument('--out', type=Path, required=True, metavar='FILE.json')
    parser.add_argument('--work-dir', type=Path, required=True, metavar='DIR', help='checkpoints, logs and scores')
    parser.add_argument('--methods', nargs='+', choices=list(METHODS), default=list(CHOSEN))
    parser.add_argument('--attacks', nargs='*', choices=list(ATTACKS), default=list(ATTACKS))
    parser.add_argument('--model', type=Path, default=DEFAULT_MODEL, metavar='CONFIG.py')
    parser.add_argument('--images', type=int, help='number of training and of test images; default: all')
    parser.add_argument('--batch', type=int, default=128)
    parser.add_argument('--craft-dtype', choices=PRECISIONS, help='precision of the attacks')
    parser.add_argument('--seed', type=seed_number, default=0)
    return parser.parse_args(arguments)


def settings_of(args: argparse.Namespace) -> Settings:
    """Return the settings that the trainings share.

    Raises:
        ValueError: if a number does not fit, or the device does not exist.
        OSError: if a file is missing or cannot be read or written.
    """
    for name in ('epochs', 'images', 'batch', 'minutes'):
        value = getattr(args, name)
        if value is not None and not value > 0:
            raise InputError(f'--{name} must be greater than 0; got {value}.')
    if args.minutes is None and args.epochs is None:
        raise InputError('the number of epochs follows from the time: give --minutes, or --epochs, or both.')
    if args.device == 'cuda' and not torch.cuda.is_available():
        raise InputError('there is no CUDA device here; use --device cpu.')
    for path in (args.data, args.model):
        if not path.is_file():
            raise MissingFileError(f'{path} is not a file; --data is the .npz of jpeg images, --model a config.')
    writable_report(args.out, '--out', (args.data, args.model))
    writable_folder(args.work_dir, '--work-dir')
    with reading(args.data), args.data.open('rb') as file:
        digest = hashlib.file_digest(file, 'sha256').hexdigest()
    return Settings(
        data=str(args.data.resolve()),
        digest=digest,
        model=str(args.model.resolve()),
        device=args.device,
        seed=args.seed,
        batch=args.batch,
        images=args.images,
        attacks=tuple(name for name in ATTACKS if name in args.attacks),
        craft_dtype=args.craft_dtype,
    )


def record_settings(args: argparse.Namespace, settings: Settings) -> None:
    """Record the settings of the folder, and the number of epochs if it is given.

    Raises:
        ValueError: if the folder belongs to other settings.
    """
    for file, wanted in (
        ('settings.json', json.loads(json.dumps(asdict(settings)))),
        ('plan.json', args.epochs and {'epochs': args.epochs, 'chosen': 'given'}),
    ):
        path = args.work_dir / file
        known = read(path)
        if known and wanted:
            changed = [key for key in wanted if key != 'chosen' and known.get(key) != wanted[key]]
            if changed:
                raise InputError(
                    f'{args.work_dir} holds a run with another {changed[0]} ({known.get(changed[0])!r}, and '
                    f'{wanted[changed[0]]!r} now); give another --work-dir.'
                )
        elif wanted:
            write_json(path, wanted)
    if not (args.work_dir / 'plan.json').exists():  # left by an unfinished measurement
        for old in ('go', '*/ready', '*/part.json'):
            for path in args.work_dir.glob(old):
                path.unlink()


def main(arguments: Sequence[str] | None = None, loading: float = 0.0) -> None:
    """Train and test what is missing, write the file, and print the table.

    Args:
        arguments: command line arguments; by default those of the program.
        loading: seconds that have already passed.
    """
    args = parsed(arguments)
    deadline = Deadline(None if args.minutes is None else args.minutes - loading / 60)
    with errors_as_sentences():
        settings = settings_of(args)
        record_settings(args, settings)
        written = Run(settings, args.methods, args.work_dir, args.out, deadline).run()
    show_table(written)


if __name__ == '__main__':
    main(loading=time.process_time())
