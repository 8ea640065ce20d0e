"""Test a model, clean and under attack: python tools/test.py CONFIG CHECKPOINT --attack pgd-linf pgd-l2

--attack list prints the attacks with their parameters and sources (no config is needed for that).
"""

import argparse
import json
import sys
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.runner import Runner
from rich.console import Console
from rich.table import Table

from samat_mm.command_line import common_parser, errors_as_sentences, load_config
from samat_mm.engine.hooks import AttackEvaluationHook
from samat_mm.evaluation import build_report, load_for_evaluation, print_report
from samat_mm.models.replay import unwrapped
from samat_mm.presets import build_attacks, presets

ATTACK_OPTIONS = ('eps', 'steps', 'step-size', 'restarts', 'show-dir')


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
        if given:
            raise ValueError(f'{", ".join(given)} needs --attack NAME; --attack list shows the names.')
    attacks = build_attacks(
        args.attack,
        eps=args.eps,
        steps=args.steps,
        step_size=args.step_size,
        restarts=args.restarts,
        seed=args.seed,
    )
    config = load_config(args)
    if args.out:
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)  # now, rather than after hours of work
    config.load_from, config.resume = None, False
    if args.max_samples is not None:
        if args.max_samples < 1:
            raise ValueError(f'--max-samples must be at least 1; got {args.max_samples}.')
        config.test_dataloader.dataset.indices = args.max_samples
    if attacks:
        config.custom_hooks = [
            hook for hook in config.get('custom_hooks', []) if hook['type'] != AttackEvaluationHook.__name__
        ]
    runner = Runner.from_cfg(config)
    if attacks:
        runner.register_hook(AttackEvaluationHook(attacks, show_dir=args.show_dir))
    load_for_evaluation(unwrapped(runner.model), args.checkpoint)
    metrics = runner.test()
    if not is_main_process():
        return
    hooks = [hook for hook in runner.hooks if isinstance(hook, AttackEvaluationHook)]
    report = build_report(
        metrics,
        {name: attack for hook in hooks for name, attack in hook.attacks.items()},
        config=args.config,
        checkpoint=args.checkpoint,
        seed=args.seed,
        samples=len(runner.test_dataloader.dataset),
    )
    print_report(report)
    if args.out:
        Path(args.out).write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')


def main() -> None:
    """Parse, and list or test."""
    parser = common_parser(__doc__)
    parser.add_argument('config', nargs='?', help='a config file')
    parser.add_argument('checkpoint', nargs='?', help='a local checkpoint of that config')
    parser.add_argument('--attack', nargs='+', default=[], metavar='NAME', help="presets, or 'list'")
    parser.add_argument('--eps', help="radius for every attack, such as '4/255'")
    parser.add_argument('--steps', type=int)
    parser.add_argument('--step-size', help="such as '1/255'; follows eps by default")
    parser.add_argument('--restarts', type=int)
    parser.add_argument('--seed', type=int, default=0, help='of the random starts')
    parser.add_argument('--max-samples', type=int, help='evaluate the first so many images only')
    parser.add_argument('--out', metavar='FILE.json', help='write the report')
    parser.add_argument('--show-dir', help='write one picture per image and attack')
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
