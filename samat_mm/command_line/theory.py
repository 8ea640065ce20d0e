"""Check the paper's theory in numbers: samat-mm theory [--out FILE.json] [--figures DIR]

Prints the robust feature weight of standard training, AT and SAM on a grid of models and radii: exact, by the paper's
formulas and by the corrected one; what the theorems leave out; and the weights that training on samples reaches.
"""

import argparse
from itertools import product
from pathlib import Path
from typing import Any

from samat_mm.command_line.arguments import seed_number
from samat_mm.errors import InputError
from samat_mm.files.outputs import writable_folder, writable_report, write_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments: the grid, the model of the trainings, and the outputs."""
    grid = parser.add_argument_group('grid')
    grid.add_argument('--p', type=float, nargs='+', default=[0.6, 0.9, 0.99], help='accuracies of the robust feature')
    grid.add_argument('--eta', type=float, nargs='+', default=[0.1, 0.2], help='means of the non-robust features')
    grid.add_argument('--n', type=int, nargs='+', default=[25, 100, 400], help='numbers of non-robust features')
    grid.add_argument('--eps', type=float, nargs='+', default=[0.05, 0.15, 0.5, 1.0, 2.0], help='radii of AT and SAM')
    parser.add_argument(
        '--model',
        type=float,
        nargs=3,
        default=[0.9, 0.2, 25.0],
        metavar=('P', 'ETA', 'N'),
        help='model of the trainings, of the other balls of AT and of the figures',
    )
    parser.add_argument('--samples', type=int, default=5000, help='samples of a data set; 0 leaves the trainings out')
    parser.add_argument('--data-sets', type=int, default=12, help='number of data sets')
    parser.add_argument('--seed', type=seed_number, default=0, help='seed of the first data set')
    parser.add_argument('--out', metavar='FILE.json', help='write all numbers')
    parser.add_argument('--figures', metavar='DIR', help='draw W_R against the radius, and the radii of equal W_R')


def run(args: argparse.Namespace) -> None:
    """Compute, train, report and draw.

    Raises:
        ValueError: if an argument does not fit.
        OSError: if something cannot be written.
    """
    import json

    from rich.console import Console
    from rich.progress import track

    from samat_mm.compat import versions
    from samat_mm.theory import FeatureModel, Training, ball_rows, cases, grid_row, print_report, train
    from samat_mm.visualization.landscape import save
    from samat_mm.visualization.theory import draw_all_weights, draw_radii, draw_weights

    p, eta, n = args.model
    if not n.is_integer():
        raise InputError(f'--model takes a whole number as N, of non-robust features; got {n:g}.')
    model = FeatureModel(p, eta, int(n))
    models = [FeatureModel(*values) for values in product(args.p, args.eta, args.n)]
    training = Training(args.samples, args.data_sets, seed=args.seed) if args.samples else None
    if args.out is not None:
        writable_report(args.out, '--out', ())
    if args.figures is not None:
        writable_folder(args.figures, '--figures')

    console = Console()
    shown: Any = {'console': console, 'transient': True, 'disable': not console.is_terminal}
    rows = [grid_row(*pair) for pair in track(list(product(models, args.eps)), 'optima', **shown)]
    trained: list[dict[str, Any]] = []
    if training is not None:
        trained = [train(model, training, case) for case in track(list(cases(model)), 'trainings', **shown)]
    document = {'rows': rows, 'balls': ball_rows(model), 'trained': trained}
    print_report(document, console)
    if args.out:
        write_text(Path(args.out), json.dumps({**document, 'versions': versions()}, indent=2) + '\n')
    if args.figures:
        other = FeatureModel(model.p, model.eta / 2, model.n)
        figures = {
            'theory_weights': draw_weights(model, trained),
            'theory_radii': draw_radii(model),
            'theory_all_weights': draw_all_weights([model, other]),
        }
        for name, figure in figures.items():
            save(figure, Path(args.figures) / f'{name}.png')
