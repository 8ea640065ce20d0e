"""Test a model, clean and under attack: python tools/test.py CONFIG CHECKPOINT --attack pgd-linf pgd-l2

--attack list prints the attacks with their parameters and sources (no config is needed for that). Several radii after
--eps give a curve. What is known of each image is kept in WORK_DIR/attack_results as the test goes: the same command
after a kill goes on where it stopped. A page with all results is written beside --out, or into that folder.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import get_world_size, is_main_process
from mmengine.runner import Runner
from rich.console import Console
from rich.table import Table

from samat_mm.command_line import common_parser, errors_as_sentences, load_config
from samat_mm.engine.hooks import AttackEvaluationHook
from samat_mm.engine.loops import AttackTestLoop
from samat_mm.evaluation import (
    SanityChecks,
    build_report,
    describe_evaluation,
    load_for_evaluation,
    per_class_section,
    print_report,
    print_verdicts,
    surrogate,
)
from samat_mm.evaluation.outcome import Outcome
from samat_mm.evaluation.sanity import TRANSFER
from samat_mm.evaluation.trials import CLEAN
from samat_mm.models.crafting import DTYPES, Crafting
from samat_mm.models.replay import unwrapped
from samat_mm.models.tasks import Classification, task_of
from samat_mm.perturbations.inputs import FGSM, PGD
from samat_mm.presets import build_attacks, presets
from samat_mm.visualization.html_report import write_html

ATTACK_OPTIONS = ('eps', 'steps', 'step-size', 'restarts', 'show-dir', 'export', 'craft-dtype')
SANITY_OPTIONS = ('eps', 'steps', 'step-size', 'restarts', 'craft-dtype')
SANITY = 'sanity/'
HOOK = AttackEvaluationHook.__name__


def print_presets() -> None:
    """Print every preset with its parameters and source."""
    table = Table(title='attacks (eps and step_size in [0, 1] pixel units)')
    for column in ('name', 'parameters', 'source'):
        table.add_column(column)
    for name, attack in build_attacks(list(presets())).items():
        parameters = attack.describe()
        radii = {key: f'{float(parameters[key]) * 255:g}/255' for key in ('eps', 'step_size') if key in parameters}
        text = ', '.join(f'{key}={value}' for key, value in {**parameters, **radii}.items())
        table.add_row(name, text, presets()[name]['source'])
    Console().print(table)


def test(args: argparse.Namespace) -> None:
    """Run the evaluation and report it.

    Raises:
        ValueError: if an argument does not fit.
    """
    if not args.attack:
        given = [f'--{name}' for name in ATTACK_OPTIONS if getattr(args, name.replace('-', '_')) is not None]
        if given and not (args.sanity and set(given) <= {f'--{name}' for name in SANITY_OPTIONS}):
            raise ValueError(f'{", ".join(given)} needs --attack NAME; --attack list shows the names.')
    if args.max_samples is not None and args.max_samples < 1:
        raise ValueError(f'--max-samples must be at least 1; got {args.max_samples}.')
    changes = {name: getattr(args, name) for name in ('steps', 'step_size', 'restarts', 'seed')}
    attacks = build_attacks(args.attack, args.eps or (), **changes)
    config = load_config(args)
    if not attacks:
        attacks = build_attacks(attacks_in(config), **changes)
    for path in (args.out and Path(args.out).parent, args.show_dir, args.export):
        if path:
            Path(path).mkdir(parents=True, exist_ok=True)  # now, rather than after hours of work
    config.load_from, config.resume = None, False
    config.custom_hooks = [hook for hook in config.get('custom_hooks', []) if hook['type'] != HOOK]
    config.test_cfg = dict(
        type=AttackTestLoop.__name__,
        fp16=config.get('test_cfg', {}).get('fp16', False),
        craft_dtype=args.craft_dtype,
        max_samples=args.max_samples,
        resume=args.resume,
        show_dir=args.show_dir,
        export_dir=args.export,
    )
    runner = Runner.from_cfg(config)
    model = unwrapped(runner.model)
    load_for_evaluation(model, args.checkpoint)
    loop: AttackTestLoop = runner.test_loop
    loop.attacks.update(attacks)
    checks = None
    if args.sanity:
        white = [attack for attack in attacks.values() if isinstance(attack, PGD) and not isinstance(attack, FGSM)]
        white = white or list(build_attacks(['pgd-linf'], (args.eps or ())[:1], **changes).values())
        checks = SanityChecks(white[0], isinstance(task_of(loop.first_samples(), model), Classification))
        loop.attacks.update({f'{SANITY}{name}': attack for name, attack in checks.attacks().items()})
        loop.others[f'{SANITY}{TRANSFER}'] = Crafting(surrogate(model), args.craft_dtype)
    start = time.monotonic()
    metrics = runner.test()
    if not is_main_process():
        return
    outcomes = {name: outcome for name, outcome in loop.outcomes.items() if not name.startswith(SANITY)}
    verdicts = checks.verdicts(checks_of(loop.outcomes)) if checks else []
    shown = {name: outcomes[name] for name in (CLEAN, *attacks)}
    report = build_report(
        {key: value for key, value in metrics.items() if not key.startswith(SANITY)},
        attacks,
        config=args.config,
        checkpoint=args.checkpoint,
        seed=args.seed,
        samples=loop.samples,
        outcomes=outcomes,
        evaluation=describe_evaluation(
            outcomes[CLEAN],
            model,
            device=str(next(model.parameters()).device),
            craft_dtype=args.craft_dtype or 'float32',
            processes=get_world_size(),
            seconds=round(time.monotonic() - start, 1),
            resumed=loop.resumed,
            date=datetime.now().astimezone().isoformat(timespec='seconds'),
        ),
        per_class=per_class_section(shown, (loop.evaluator.dataset_meta or {}).get('classes')),
        sanity=[asdict(verdict) for verdict in verdicts],
    )
    print_report(report)
    if verdicts:
        print_verdicts(verdicts)
    page = Path(args.out).with_suffix('.html') if args.out else loop.folder / 'report.html'
    if args.out:
        Path(args.out).write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')
    write_html(report, page, sorted(Path(args.show_dir).rglob('*.png')) if args.show_dir else ())
    print(f'Report: {page}. Results by image: {loop.folder}.')


def attacks_in(config: Config) -> list[str | dict]:
    """Return the attacks of the config's own evaluation hooks."""
    return [attack for hook in config.get('custom_hooks', []) if hook['type'] == HOOK for attack in hook['attacks']]


def checks_of(outcomes: Mapping[str, Outcome]) -> dict[str, Outcome]:
    """Return the outcomes of the sanity checks by their own names, and the clean one."""
    return {
        name.removeprefix(SANITY): outcome for name, outcome in outcomes.items() if name.startswith((SANITY, CLEAN))
    }


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
    parser.add_argument('--seed', type=int, default=0, help='of the random starts')
    parser.add_argument('--max-samples', type=int, help='evaluate the first so many images only')
    parser.add_argument('--out', metavar='FILE.json', help='write the report')
    parser.add_argument('--show-dir', help='write one picture per image and attack')
    parser.add_argument('--export', metavar='DIR', help='write adversarial images as 8-bit PNG files, and score these')
    parser.add_argument('--sanity', action='store_true', help='check that robustness is not an attack that fails')
    parser.add_argument('--craft-dtype', choices=list(DTYPES), help='precision in which attacks run')
    parser.add_argument('--resume', action='store_true', help='go on with an evaluation that was stopped, or fail')
    args = parser.parse_intermixed_args()
    with errors_as_sentences():
        if args.attack == ['list']:
            print_presets()
            sys.exit(0)
        if args.config is None or args.checkpoint is None:
            raise ValueError('CONFIG and CHECKPOINT are needed, in this order and before --attack.')
        test(args)


if __name__ == '__main__':
    main()
