"""Test a model, clean and under attack: python tools/test.py CONFIG CHECKPOINT --attack pgd-linf pgd-l2

--attack list prints the attacks with their parameters and sources (no config is needed for that). Several radii after
--eps give a curve. The results of each image are kept in WORK_DIR/attack_results as the test runs: the same command
after a kill continues where it stopped. A page with all results is written next to --out, or into that folder.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from rich.console import Console
from rich.table import Table

from samat_mm.api import EvaluationReport, evaluate
from samat_mm.api.test_runner import attacks_of
from samat_mm.command_line import common_parser, errors_as_sentences, load_config, seed_number
from samat_mm.crafting.crafting import PRECISIONS
from samat_mm.crafting.protocols import PROTOCOLS
from samat_mm.errors import InputError
from samat_mm.evaluation import SanityChecks, print_report, print_verdicts
from samat_mm.files.outputs import writable_folder, writable_report, write_text
from samat_mm.perturbations.inputs import Attack
from samat_mm.presets import build_attacks, presets
from samat_mm.registry import ATTACKS
from samat_mm.visualization.document import has_metric
from samat_mm.visualization.html_report import write_html

CHANGES = ('steps', 'step_size', 'restarts', 'queries', 'seed')  # applied to attacks that have such a parameter
ATTACK_OPTIONS = (
    'eps',
    'steps',
    'step-size',
    'restarts',
    'queries',
    'show-dir',
    'export',
    'craft-dtype',
    'protocol',
    'surrogate',
)
SANITY_OPTIONS = ('eps', 'steps', 'step-size', 'restarts', 'craft-dtype')


def print_presets() -> None:
    """Print every preset with its parameters and source."""
    table = Table(title='attacks (eps and step_size in [0, 1] pixel units)')
    for column in ('name', 'parameters', 'source'):
        table.add_column(column)
    for name, preset in presets().items():
        parameters = ATTACKS.build(preset['attack']).describe()
        radii = {key: f'{float(parameters[key]) * 255:g}/255' for key in ('eps', 'step_size') if key in parameters}
        text = ', '.join(f'{key}={value}' for key, value in {**parameters, **radii}.items())
        table.add_row(name, text, preset['source'])
    Console().print(table)


def refuse_idle_options(args: argparse.Namespace, attacks: Mapping[str, Attack]) -> None:
    """Refuse options that would have no effect.

    Raises:
        ValueError: if there are any.
    """
    useful = SANITY_OPTIONS if args.sanity else ()
    given = [name for name in ATTACK_OPTIONS if getattr(args, name.replace('-', '_')) is not None]
    idle = ', '.join(f'--{name}' for name in given if name not in useful)
    if idle and not attacks:
        raise InputError(f'{idle} needs --attack NAME; --attack list shows the names.')


def make_outputs(args: argparse.Namespace) -> None:
    """Make the folders of the outputs and check that they can be written: now, not after hours of work.

    Raises:
        ValueError: if a file or folder does not fit.
        OSError: if it cannot be written to.
    """
    if args.out is not None:
        writable_report(args.out, '--out', (args.config, args.checkpoint), page_suffix='.html')
    folders = {'--show-dir': args.show_dir, '--export': args.export}
    made = [writable_folder(path, option).resolve() for option, path in folders.items() if path is not None]
    if len(set(made)) < len(made):
        raise InputError(f'--show-dir and --export need separate folders, as their file names clash; got {made[0]}.')


def test(args: argparse.Namespace) -> None:
    """Run the evaluation and report it.

    Raises:
        ValueError: if an argument does not fit.
        OSError: if something cannot be read or written.
    """
    if args.max_samples is not None and args.max_samples < 1:
        raise InputError(f'--max-samples must be at least 1; got {args.max_samples}.')
    changes = {name: getattr(args, name) for name in CHANGES}
    config = load_config(args)
    attacks = build_attacks(args.attack or attacks_of(config), args.eps or (), **changes)
    refuse_idle_options(args, attacks)
    make_outputs(args)
    report = evaluate(
        config,
        args.checkpoint,
        attacks,
        checks=sanity_checks(attacks, radii=(args.eps or ())[:1], **changes) if args.sanity else None,
        name=args.config,
        seed=args.seed,
        surrogate=args.surrogate,
        craft_dtype=args.craft_dtype,
        protocol=args.protocol,
        max_samples=args.max_samples,
        resume=args.resume,
        show_dir=args.show_dir,
        export_dir=args.export,
    )
    if is_main_process():
        publish(report, args)


def sanity_checks(attacks: Mapping[str, Attack], **parameters: Any) -> SanityChecks:
    """Return the checks of the first PGD, SegPGD or CosPGD, or without attacks of the preset pgd-linf.

    Raises:
        ValueError: if the attacks have no radius to vary.
    """
    return SanityChecks.of(attacks or build_attacks(['pgd-linf'], **parameters))


def publish(report: EvaluationReport, args: argparse.Namespace) -> None:
    """Print a report, and write it as JSON and as a page.

    Raises:
        OSError: if a file cannot be written.
    """
    document, folder = report.document, report.result.folder
    unit = document.get('evaluation', {}).get('unit', 'image')
    print_report(document)
    print_verdicts(document.get('sanity', []))
    page = Path(args.out).with_suffix('.html') if args.out else folder / 'report.html'
    if args.out:
        write_text(Path(args.out), json.dumps(document, indent=2) + '\n')
    if has_metric(document):
        write_html(document, page, sorted(Path(args.show_dir).rglob('*.png')) if args.show_dir else ())
        print(f'Report: {page}. Results by {unit}: {folder}.')
    else:
        print(f'The metrics gave no numbers, so there is no page to write. Results by {unit}: {folder}.')


def main() -> None:
    """Parse, and list or test."""
    parser = common_parser(__doc__)
    parser.add_argument('config', nargs='?', help='a config file')
    parser.add_argument('checkpoint', nargs='?', help='a local checkpoint of that config')
    parser.add_argument('--attack', nargs='+', default=[], metavar='NAME', help="presets, or 'list'")
    parser.add_argument('--eps', nargs='+', help="radius of the attacks that have one, such as '4/255'; several rise")
    parser.add_argument('--steps', type=int)
    parser.add_argument('--step-size', help="such as '1/255'; follows eps by default")
    parser.add_argument('--restarts', type=int)
    parser.add_argument('--queries', type=int, help='model queries per image of Square and AutoAttack')
    parser.add_argument('--seed', type=seed_number, help='seed of the random starts; default 0')
    parser.add_argument('--max-samples', type=int, help='number of images, or of sentences, to test, spread evenly')
    parser.add_argument('--out', metavar='FILE.json', help='write the report')
    parser.add_argument('--show-dir', help='write one picture per image and attack')
    parser.add_argument('--export', metavar='DIR', help='write adversarial images as 8-bit PNG files and score them')
    parser.add_argument('--sanity', action='store_true', help='check whether the model is robust or the attack fails')
    parser.add_argument('--craft-dtype', choices=PRECISIONS, help='precision of the attacks')
    parser.add_argument('--protocol', choices=list(PROTOCOLS), help='function that the attacks differentiate')
    parser.add_argument(
        '--surrogate', nargs=2, metavar=('CONFIG', 'CHECKPOINT'), help='another model, to make the attacks on'
    )
    parser.add_argument('--resume', action='store_true', help='continue a stopped evaluation, or fail if there is none')
    args = parser.parse_intermixed_args()
    with errors_as_sentences():
        if args.attack == ['list']:
            print_presets()
            sys.exit(0)
        if args.config is None or args.checkpoint is None:
            raise InputError('CONFIG and CHECKPOINT are needed, in this order and before --attack.')
        test(args)


if __name__ == '__main__':
    main()
