"""Test a model, clean and under attack: samat-mm test CONFIG CHECKPOINT --attack pgd-linf pgd-l2

`samat-mm attacks` prints the attacks with their parameters and sources. Several radii after --eps give a curve. The
results of each image are kept in WORK_DIR/attack_results as the test runs: the same command after a kill continues
where it stopped. A page with all results is written next to --out, or into that folder.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samat_mm.command_line import attacks as attacks_command
from samat_mm.command_line.arguments import command_with, config_of, is_first_process
from samat_mm.command_line.endings import saying_on_interrupt
from samat_mm.command_line.test_arguments import (
    add_arguments,
    check,
    make_outputs,
    radii_of,
    refuse_idle_options,
)

__all__ = ['add_arguments', 'run']

if TYPE_CHECKING:
    from samat_mm.reports import Report

CHANGES = ('steps', 'step_size', 'restarts', 'queries', 'seed')  # applied to attacks that have such a parameter


def run(args: argparse.Namespace) -> None:
    """Test and report, or list the attacks.

    Raises:
        ValueError: if an argument or the config does not fit.
        OSError: if something cannot be read or written.
    """
    if args.attack == ['list']:
        return attacks_command.run(args)
    check(args)
    radii = radii_of(args.eps)
    with saying_on_interrupt('The results so far are kept: the same command continues where it stopped.'):
        from mmengine.dist import is_main_process

        from samat_mm.presets import build_attacks

        changes = {name: getattr(args, name) for name in CHANGES}
        build_attacks(args.attack, radii, **changes)  # mistakes come before the slow imports
        from samat_mm.api.evaluation import evaluate
        from samat_mm.api.test_runner import attacks_of
        from samat_mm.evaluation.radius_remarks import radius_remarks

        config = config_of(args)
        attacks = build_attacks(args.attack or attacks_of(config), radii, **changes)
        refuse_idle_options(args, attacks)
        for remark in radius_remarks(attacks) if is_first_process(args) else ():
            print(f'note: {remark}', file=sys.stderr)
        make_outputs(args)
        report = evaluate(
            with_predictions(config, args.predictions),
            args.checkpoint,
            attacks,
            checks=sanity_checks(attacks, radii, **changes) if args.sanity else None,
            name=args.config,
            seed=None if attacks else args.seed,
            surrogate=args.surrogate,
            craft_dtype=args.craft_dtype,
            protocol=args.protocol,
            max_samples=args.max_samples,
            resume=args.resume,
            show_dir=args.show_dir,
            export_dir=args.export,
            verbose=args.verbose,
        )
    if is_main_process():
        publish(report, args)


def with_predictions(config: Any, path: str | None) -> Any:
    """Return a config whose metrics also write the predictions to a file."""
    if path is not None:
        evaluator: Any = config.get('test_evaluator') or []
        metrics = evaluator.metrics if 'metrics' in evaluator else evaluator
        listed = list(metrics) if isinstance(metrics, (list, tuple)) else [metrics]
        listed.append(dict(type='DumpResults', out_file_path=path))
        config.test_evaluator = {**evaluator, 'metrics': listed} if 'metrics' in evaluator else listed
    return config


def sanity_checks(attacks: Mapping[str, Any], radii: Any, **parameters: Any) -> Any:
    """Return the checks of the first PGD, SegPGD or CosPGD, or without attacks of the preset pgd-linf.

    Raises:
        ValueError: if the attacks have no radius to vary.
    """
    from samat_mm.evaluation import SanityChecks
    from samat_mm.presets import build_attacks

    first = radii if isinstance(radii, dict) else radii[:1]
    chosen: Any = attacks or build_attacks(['pgd-linf'], first, **parameters)
    return SanityChecks.of(chosen)


def publish(report: 'Report', args: argparse.Namespace) -> None:
    """Print a report, and write it as JSON and as a page.

    Raises:
        OSError: if a file cannot be written.
    """
    from samat_mm.evaluation import print_report, print_verdicts
    from samat_mm.reports import Report

    pictures = sorted(Path(args.show_dir).rglob('*.png')) if args.show_dir else ()
    provenance = {**report.document['provenance'], 'command': command_with()}
    report = Report({**report.document, 'provenance': provenance}, report.result, pictures)
    print_report(report.document)
    print_verdicts(report.document.get('sanity', []))
    assert report.result is not None
    folder, unit = report.result.folder, report.document.get('evaluation', {}).get('unit', 'image')
    page = Path(args.out).with_suffix('.html') if args.out else folder / 'report.html'
    if args.out:
        report.save(args.out)
    files = [args.out] if args.out else []
    if report.has_numbers:
        report.save(page)
        files.append(str(page))
    else:
        print('The metrics gave no numbers, so there is no page to write.')
    if files:
        print(f'Report: {", ".join(files)}')
    print(f'Results by {unit}: {folder}')
