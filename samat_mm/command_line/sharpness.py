"""Measure the sharpness of the training loss: samat-mm sharpness CONFIG CHECKPOINT [CHECKPOINT ...]

Prints the worst-case loss rises that SAM and ASAM reduce, and the largest eigenvalue and the trace of the Hessian, all
on the same training batches. --figures draws the loss landscape and the rise against the radius. Several checkpoints of
one architecture get a column and a curve each.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samat_mm.command_line.arguments import add_run_arguments, check_run_arguments, command_with, config_of, seed_number
from samat_mm.errors import InputError
from samat_mm.files.inputs import checkpoint_file
from samat_mm.files.outputs import file_name, writable_folder, writable_report, write_text

if TYPE_CHECKING:
    from samat_mm.api.sharpness import Sharpness

LANDSCAPES = {'none': 0, '1d': 1, '2d': 2}  # number of dimensions by option
RADII = [number / 4 for number in range(9)]  # for the figure of loss rises, in units of rho


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a measurement."""
    parser.add_argument('config', help='a config file')
    parser.add_argument('checkpoint', nargs='+', help='local checkpoints of that config')
    parser.add_argument('--batches', type=int, default=4, help='number of training batches')
    parser.add_argument('--rho', type=float, default=0.05, help="radius of SAM's ball")
    parser.add_argument('--asam-rho', type=float, default=0.5, help="radius of ASAM's ball")
    parser.add_argument('--steps', type=int, default=5, help='number of steps of the longer ascent')
    parser.add_argument('--probes', type=int, default=10, help='random vectors for the trace; 0 skips the Hessian')
    parser.add_argument('--seed', type=seed_number, default=0, help='seed of batches, vectors, directions')
    parser.add_argument('--out', metavar='FILE.json', help='write the report (a list for several checkpoints)')
    parser.add_argument('--figures', metavar='DIR', help='draw the landscape and the rise against the radius')
    parser.add_argument('--landscape', choices=list(LANDSCAPES), help='landscape to draw with --figures; default 1d')
    add_run_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Measure every checkpoint, report and draw.

    Raises:
        ValueError: if an argument does not fit.
        OSError: if something cannot be read or written.
    """
    check_run_arguments(args)
    files = [str(checkpoint_file(checkpoint)) for checkpoint in args.checkpoint]
    if args.landscape is not None and args.figures is None:
        raise InputError('--landscape needs --figures DIR for its output.')
    if args.out is not None:
        writable_report(args.out, '--out', (args.config, *args.checkpoint))
    if args.figures is not None:
        writable_folder(args.figures, '--figures')
    from mmengine.dist import is_main_process

    from samat_mm.sharpness import Measurement
    from samat_mm.sharpness.report import labels_of, print_report

    measurement = Measurement(args.rho, args.asam_rho, args.steps, args.probes, args.seed)
    from samat_mm.api.sharpness import measure_each

    radii = [args.rho * share for share in RADII] if args.figures else []
    dimensions = LANDSCAPES[args.landscape or '1d'] if args.figures else 0
    checkpoints = dict(zip(labels_of(args.checkpoint), files, strict=True))
    found = measure_each(
        config_of(args), checkpoints, measurement, args.batches, radii, dimensions, verbose=args.verbose
    )
    if not is_main_process():
        return
    reports = [found[label].document(args.config, checkpoint) for label, checkpoint in checkpoints.items()]
    for report in reports:
        report['provenance']['command'] = command_with()
    print_report(reports)
    if args.out:
        document: Any = reports[0] if len(reports) == 1 else reports
        write_text(Path(args.out), json.dumps(document, indent=2) + '\n')
    if args.figures:
        draw(found, radii, Path(args.figures))


def draw(found: Mapping[str, 'Sharpness'], radii: list[float], folder: Path) -> None:
    """Draw the rises and the landscapes of checkpoints by their label.

    Raises:
        OSError: if a figure cannot be written.
    """
    from samat_mm.visualization.landscape import draw_lines, draw_plane, draw_rises, save

    landscapes = {label: sharpness.landscape for label, sharpness in found.items() if sharpness.landscape is not None}
    figures = {'loss_rise': draw_rises({label: sharpness.rises for label, sharpness in found.items()}, radii)}
    if landscapes:
        figures['landscape'] = draw_lines(landscapes)
    for label, landscape in landscapes.items():
        if landscape.losses.ndim == 2:
            figures[f'landscape-{file_name(label)}'] = draw_plane(landscape, label)
    for name, figure in figures.items():
        save(figure, folder / f'{name}.png')
