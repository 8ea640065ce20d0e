"""Measure the sharpness of the training loss: python tools/sharpness.py CONFIG CHECKPOINT [CHECKPOINT ...]

Prints the worst-case loss rises that SAM and ASAM reduce, and the largest eigenvalue and the trace of the Hessian, all
on the same training batches. --figures draws the loss landscape and the rise against the radius. Several checkpoints of
one architecture get a column and a curve each.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from mmengine.dist import is_main_process
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from samat_mm.checkpoints.loading import load_for_evaluation
from samat_mm.command_line import build_runner_and_model, common_parser, errors_as_sentences, load_config, seed_number
from samat_mm.command_line.config_errors import building
from samat_mm.errors import InputError
from samat_mm.files.outputs import file_name, writable_folder, writable_report, write_text
from samat_mm.model_state import unwrapped
from samat_mm.perturbations.weights import SAM
from samat_mm.sharpness import Measurement, draw_batches, loss_landscape, loss_surface, one_step_rises, prepare
from samat_mm.sharpness.landscape import LANDSCAPES, POINTS, Landscape
from samat_mm.sharpness.objective import sample_count
from samat_mm.sharpness.report import build_report, labels_of, print_report
from samat_mm.visualization.landscape import draw_lines, draw_plane, draw_rises, save

DEFAULTS = Measurement()
RADII = [number / 4 for number in range(9)]  # for the figure of loss rises, in units of rho


def sharpness(args: argparse.Namespace) -> None:
    """Measure every checkpoint, report and draw.

    Raises:
        ValueError: if an argument does not fit.
        OSError: if something cannot be read or written.
    """
    measurement = Measurement(args.rho, args.asam_rho, args.steps, args.probes, args.seed)
    if args.landscape is not None and args.figures is None:
        raise InputError('--landscape needs --figures DIR for its output.')
    labels = labels_of(args.checkpoint)
    config = load_config(args)
    if args.out is not None:
        writable_report(args.out, '--out', (args.config, *args.checkpoint))
    if args.figures is not None:
        writable_folder(args.figures, '--figures')
    config.load_from, config.resume = None, False
    model = unwrapped(build_runner_and_model(config).model)
    with building(config):
        drawn = draw_batches(config.get('train_dataloader'), args.batches, args.seed)
    batches = prepare(model, drawn, args.seed)

    dimensions = LANDSCAPES[args.landscape or '1d'] if args.figures else 0
    radii = [args.rho * share for share in RADII] if args.figures else []
    passes = measurement.most_passes() + 1 + len(radii) + POINTS**dimensions
    reports: list[dict[str, Any]] = []
    rises: dict[str, list[float]] = {}
    landscapes: dict[str, Landscape] = {}
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, transient=True, disable=not is_main_process()) as progress:
        for label, checkpoint in zip(labels, args.checkpoint, strict=True):
            load_for_evaluation(model, checkpoint)
            task = progress.add_task(f'{label}: passes, at most', total=passes)
            curves: dict[str, Any] = {}
            with loss_surface(model, batches, on_pass=lambda task=task: progress.advance(task)) as surface:
                results = measurement.measure(surface)
                if radii:
                    rises[label] = one_step_rises(surface, SAM(args.rho), radii)
                    curves.update(radii=radii, rises=rises[label])
                if dimensions:
                    landscape = landscapes[label] = loss_landscape(surface, dimensions, seed=args.seed)
                    curves.update(positions=landscape.positions.tolist(), losses=landscape.losses.tolist())
            named = {'config': args.config, 'checkpoint': checkpoint, 'samples': sample_count(batches)}
            reports.append(build_report(results, measurement, curves, **named))
    if not is_main_process():
        return
    print_report(reports)
    if args.out:
        document = reports[0] if len(reports) == 1 else reports
        write_text(Path(args.out), json.dumps(document, indent=2) + '\n')
    if args.figures:
        for name, figure in draw(rises, radii, landscapes).items():
            save(figure, Path(args.figures) / f'{name}.png')


def draw(rises: dict[str, list[float]], radii: list[float], landscapes: dict[str, Landscape]) -> dict[str, Figure]:
    """Return the figures by the name of their file."""
    figures = {'loss_rise': draw_rises(rises, radii)}
    if landscapes:
        figures['landscape'] = draw_lines(landscapes)
    for label, landscape in landscapes.items():
        if landscape.losses.ndim == 2:
            figures[f'landscape-{file_name(label)}'] = draw_plane(landscape, label)
    return figures


def main() -> None:
    """Parse and measure."""
    parser = common_parser(__doc__)
    parser.add_argument('config', help='a config file')
    parser.add_argument('checkpoint', nargs='+', help='local checkpoints of that config')
    parser.add_argument('--batches', type=int, default=4, help='number of training batches')
    parser.add_argument('--rho', type=float, default=DEFAULTS.rho, help="radius of SAM's ball")
    parser.add_argument('--asam-rho', type=float, default=DEFAULTS.asam_rho, help="radius of ASAM's ball")
    parser.add_argument('--steps', type=int, default=DEFAULTS.steps, help='number of steps of the longer ascent')
    parser.add_argument(
        '--probes', type=int, default=DEFAULTS.probes, help='random vectors for the trace; 0 skips the Hessian'
    )
    parser.add_argument('--seed', type=seed_number, default=DEFAULTS.seed, help='seed of batches, vectors, directions')
    parser.add_argument('--out', metavar='FILE.json', help='write the report (a list for several checkpoints)')
    parser.add_argument('--figures', metavar='DIR', help='draw the landscape and the rise against the radius')
    parser.add_argument('--landscape', choices=list(LANDSCAPES), help='landscape to draw with --figures; default 1d')
    args = parser.parse_intermixed_args()
    with errors_as_sentences():
        sharpness(args)


if __name__ == '__main__':
    main()
