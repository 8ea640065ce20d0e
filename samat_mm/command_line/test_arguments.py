"""The arguments of a test, and what is wrong with them."""

import argparse
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from samat_mm.command_line.arguments import add_run_arguments, check_run_arguments, seed_number
from samat_mm.errors import InputError, UnsupportedError
from samat_mm.files.configs import preset_names
from samat_mm.files.inputs import checkpoint_file, config_file
from samat_mm.files.outputs import writable_file, writable_folder, writable_report
from samat_mm.perturbations.units import parse_radius, radii_by_norm

PRECISIONS = ('float32', 'bfloat16', 'mixed')
PROTOCOLS = ('strict', 'paper-compat')
SANITY_OPTIONS = ('eps', 'steps', 'step-size', 'restarts', 'craft-dtype')
ATTACK_OPTIONS = (
    'eps', 'steps', 'step-size', 'restarts', 'queries', 'show-dir', 'export', 'craft-dtype', 'protocol', 'surrogate'
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a test."""
    parser.add_argument('config', nargs='?', help='a config file')
    parser.add_argument('checkpoint', nargs='?', help='a local checkpoint of that config')
    parser.add_argument('--attack', nargs='+', default=[], metavar='NAME', help="presets, or 'list'")
    parser.add_argument(
        '--eps', nargs='+', default=[], help='radius, such as 4/255, or by norm, linf=4/255 l2=128/255; several rise'
    )
    parser.add_argument('--steps', type=int, help='steps of the attacks that have steps')
    parser.add_argument('--step-size', help="such as '1/255'; follows eps by default")
    parser.add_argument('--restarts', type=int, help='random starts of each image, of which the worst counts')
    parser.add_argument('--queries', type=int, help='model queries per image of Square and AutoAttack')
    parser.add_argument('--seed', type=seed_number, help='seed of the random starts; default 0')
    parser.add_argument('--max-samples', type=int, help='number of images, or of sentences, to test, spread evenly')
    parser.add_argument('--out', metavar='FILE.json', help='write the report')
    parser.add_argument('--predictions', metavar='FILE.pkl', help='write the predictions, a file for each attack')
    parser.add_argument('--show-dir', help='write one picture per image and attack')
    parser.add_argument('--export', metavar='DIR', help='write adversarial images as 8-bit PNG files and score them')
    parser.add_argument('--sanity', action='store_true', help='check whether the model is robust or the attack fails')
    parser.add_argument('--craft-dtype', choices=PRECISIONS, help='precision of the attacks')
    parser.add_argument('--protocol', choices=PROTOCOLS, help='function that the attacks differentiate')
    parser.add_argument(
        '--surrogate', nargs=2, metavar=('CONFIG', 'CHECKPOINT'), help='another model, to make the attacks on'
    )
    parser.add_argument('--resume', action='store_true', help='continue a stopped evaluation, or fail if there is none')
    parser.add_argument('--tta', action='store_true', help='not supported, and refused with the reason')
    add_run_arguments(parser)


def check(args: argparse.Namespace) -> None:
    """Refuse what can be seen to be wrong without loading anything.

    Raises:
        ValueError: if an argument does not fit.
        TypeError: if test-time augmentation is asked for.
        OSError: if a file is missing.
    """
    if args.config is None or args.checkpoint is None:
        raise InputError('CONFIG and CHECKPOINT are needed, in this order and before --attack.')
    if args.tta:
        raise UnsupportedError(
            '--tta is not supported: attacks differentiate the function that is scored, on one input per image, and '
            'test-time augmentation scores an average over several; test without it.'
        )
    check_run_arguments(args)
    checkpoint_file(args.checkpoint)
    if args.surrogate:
        config_file(args.surrogate[0])
        checkpoint_file(args.surrogate[1])
    if args.max_samples is not None and args.max_samples < 1:
        raise InputError(f'--max-samples must be at least 1; got {args.max_samples}.')
    radii_by_norm(radii_of(args.eps))
    if args.step_size is not None:
        parse_radius(args.step_size, '--step-size')
    known = preset_names()
    unknown = [name for name in args.attack if name not in known]
    if unknown:
        close = get_close_matches(unknown[0].lower(), known, n=1)
        hint = f' Did you mean {close[0]}?' if close else ''
        raise InputError(f'attack {unknown[0]!r} is unknown; the known ones are {", ".join(known)}.{hint}')


def radii_of(given: Sequence[str]) -> list[str] | dict[str, list[str]]:
    """Return the radii of ``--eps``, by norm if they are given so.

    Raises:
        ValueError: if some are and some are not.
    """
    by_norm: dict[str, list[str]] = {}
    for entry in given:
        norm, sign, radius = entry.partition('=')
        by_norm.setdefault(norm if sign else '', []).append(radius if sign else entry)
    if '' not in by_norm:
        return by_norm
    if len(by_norm) > 1:
        raise InputError(f'--eps takes radii, or radii by norm, but not both; got {" ".join(given)}.')
    return by_norm['']


def refuse_idle_options(args: argparse.Namespace, attacks: Mapping[str, Any]) -> None:
    """Refuse options that would have no effect.

    Raises:
        ValueError: if there are any.
    """
    useful = SANITY_OPTIONS if args.sanity else ()
    given = [name for name in ATTACK_OPTIONS if getattr(args, name.replace('-', '_')) not in (None, [])]
    idle = ', '.join(f'--{name}' for name in given if name not in useful)
    if idle and not attacks:
        raise InputError(f'{idle} needs --attack NAME; --attack list shows the names.')


def make_outputs(args: argparse.Namespace) -> None:
    """Make the folders of the outputs and check that they can be written: now, not after hours of work.

    Raises:
        ValueError: if a file or folder does not fit.
        OSError: if it cannot be written to.
    """
    inputs = (args.config, args.checkpoint)
    if args.out is not None:
        writable_report(args.out, '--out', inputs, page_suffix='.html')
    if args.predictions is not None:
        writable_file(args.predictions, '--predictions', inputs, suffix='.pkl')
    folders = {'--show-dir': args.show_dir, '--export': args.export}
    made = [writable_folder(path, option).resolve() for option, path in folders.items() if path is not None]
    if len(set(made)) < len(made):
        raise InputError(f'--show-dir and --export need separate folders, as their file names clash; got {made[0]}.')
