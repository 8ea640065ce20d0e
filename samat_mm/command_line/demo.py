"""Demonstrate the main use on built-in data: train with SGD and with SAM, attack both, compare.

Three chains of commands run side by side, in 8 minutes on two cores: a small DeepLabv3 on scenes of digits, trained
with SGD and with SAM, one seed each, and attacked (sgd.json, sam.json and a page beside each, attack.png); and
table 2 of the paper in miniature on handwritten digits, three seeds (digits/demo.html). If the demo is killed, run it
again to continue where it stopped.
"""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from samat_mm.command_line.side_by_side import Step, run_side_by_side
from samat_mm.files.configs import PREFIX, find_config

if TYPE_CHECKING:
    from rich.table import Table

METHODS = {'sgd': 'SGD', 'sam': 'SAM, rho 0.05'}
ATTACKS = ('pgd-linf', 'pgd-l2')
ITERATIONS = 700
SHOWN = (0, 5)  # images of the validation set
MEANING = (
    'The digits have three seeds: a difference beyond the spread (±) is one of these small networks on these small '
    'images. The scenes have one seed, so they rank no method; they show the tools at work.'
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the folder of the results."""
    parser.add_argument('--out', type=Path, default=Path('demo'), metavar='DIR', help='of all files, demo by default')


def run(args: argparse.Namespace) -> None:
    """Train, test, tabulate, draw.

    Raises:
        OSError: if something cannot be read or written.
    """
    from rich.console import Console

    from samat_mm.tables.pages.terminal import as_terminal_table

    console, out = Console(), args.out
    run_side_by_side([*(on_scenes(method, out) for method in METHODS), on_digits(out)], console)
    draw(out, out / 'attack.png')
    console.print(scenes_table(out))
    console.print(as_terminal_table(json.loads((out / 'digits' / 'demo.json').read_text(encoding='utf-8'))))
    console.print(MEANING)
    files = [*(f'{method}.{kind}' for method in METHODS for kind in ('json', 'html')), 'digits/demo.html', 'attack.png']
    console.print(f'Files in {out}: {", ".join(files)}.', markup=False)


def on_scenes(method: str, out: Path) -> list[Step]:
    """Return the training of the segmentor by a method, and its test."""
    config, work_dir, title = config_of(method), out / method, f'scenes, {METHODS[method]}'
    train = [
        'train',
        config,
        '--work-dir',
        str(work_dir),
        '--resume',
        '--cfg-options',
        f'train_cfg.max_iters={ITERATIONS}',
    ]
    train += [f'train_cfg.val_interval={ITERATIONS}', f'param_scheduler.1.end={ITERATIONS}']
    test = ['test', config, str(checkpoint_of(method, out)), '--attack', *ATTACKS, '--out', str(out / f'{method}.json')]
    test += ['--work-dir', str(out / f'{method}_test')]
    return [
        Step(f'{title}: training', train, out / f'{method}_train.log'),
        Step(f'{title}: attacks', test, out / f'{method}_test.log'),
    ]


def on_digits(out: Path) -> list[Step]:
    """Return the table of the classifiers, whose jobs Snakemake runs on all cores."""
    arguments = ['reproduce', 'smoke/demo', '--budget', 'smoke', '--out', str(out / 'digits'), '--quiet', 'rules']
    return [Step('digits: table', arguments, out / 'digits.log')]


def config_of(method: str) -> str:
    """Return the config of the segmentor."""
    return f'{PREFIX}deeplabv3_digits_{method}.py'


def checkpoint_of(method: str, out: Path) -> Path:
    """Return the checkpoint at the end of a training."""
    return out / method / f'iter_{ITERATIONS}.pth'


def scenes_table(out: Path) -> 'Table':
    """Return the mIoU of each method, clean and attacked."""
    from rich.table import Table

    reports = {name: json.loads((out / f'{key}.json').read_text(encoding='utf-8')) for key, name in METHODS.items()}
    results = {name: report['results'] for name, report in reports.items()}
    (images,) = {report['samples'] for report in reports.values()}
    table = Table(title=f'DeepLabv3 on {images} scenes of digits, {ITERATIONS} iterations, one seed', caption='mIoU')
    table.add_column('method')
    for attack, values in next(iter(results.values())).items():
        radius = f', {values["attack"]["eps"] * 255:g}/255' if values.get('attack') else ''
        table.add_column(f'{attack}{radius}', justify='right')
    for name, of_attacks in results.items():
        table.add_row(name, *(f'{values["mIoU"]:.2f}' for values in of_attacks.values()))
    return table


def draw(out: Path, path: Path) -> None:
    """Draw the effect of the l2 attack on both models, image by image; its perturbation is easier to see."""
    import torch
    from mmengine.config import Config
    from mmengine.registry import init_default_scope
    from mmengine.runner import Runner
    from mmengine.utils import import_modules_from_strings

    from samat_mm.checkpoints.loading import load_for_evaluation
    from samat_mm.pixels.pixel_space import PixelSpace
    from samat_mm.presets import image_attacks
    from samat_mm.visualization.panels import panel_rows
    from samat_mm.visualization.strips import save_figure

    (attack,) = image_attacks([ATTACKS[1]]).values()
    rows = []
    for method in METHODS:
        config = Config.fromfile(find_config(config_of(method)))
        import_modules_from_strings(**config.custom_imports)
        init_default_scope(config.default_scope)
        from mmseg.registry import DATASETS, MODELS

        model = MODELS.build(config.model).eval()
        load_for_evaluation(model, str(checkpoint_of(method, out)))
        dataset = DATASETS.build(config.val_dataloader.dataset)
        batch = Runner.build_dataloader(
            {'dataset': torch.utils.data.Subset(dataset, SHOWN), 'batch_size': len(SHOWN), 'sampler': None}
        )
        data = next(iter(batch))
        prepared = model.data_preprocessor(data, False)
        space = PixelSpace(model, data['inputs'], prepared['inputs'], prepared['data_samples'])
        pixels = space.attack(attack, SHOWN)
        with torch.no_grad():
            clean, attacked = (
                model(inputs, [sample.new() for sample in prepared['data_samples']], mode='predict')
                for inputs in (prepared['inputs'], space.to_inputs(pixels))
            )
        shown = panel_rows(space, pixels, clean, attacked, dataset.metainfo)
        rows += [(method.upper(), panels) for _, panels in shown]
    save_figure([row for pair in zip(rows[: len(SHOWN)], rows[len(SHOWN) :], strict=True) for row in pair], path)
