"""Demonstrate the main use on built-in data: train with SGD and with SAM, attack both, compare.

Three chains of commands run side by side, in 8 minutes on two cores: a small DeepLabv3 on scenes of digits, trained
with SGD and with SAM, one seed each, and attacked (scenes.html, sgd.html, sam.html, attack.png); and table 2 of the
paper in miniature on handwritten digits, three seeds (digits/demo.html). If the demo is killed, run it again to
continue where it stopped.
"""

import argparse
import json
from importlib.util import find_spec
from pathlib import Path

from samat_mm.command_line.endings import saying_on_interrupt
from samat_mm.command_line.side_by_side import Step, run_side_by_side
from samat_mm.errors import InputError
from samat_mm.files.configs import PREFIX

METHODS = {'sgd': 'SGD', 'sam': 'SAM, rho 0.05'}
ATTACKS = ('pgd-linf', 'pgd-l2')
ITERATIONS = 700
SHOWN = (0, 5)  # images of the validation set
FILES = ('scenes.html', 'sgd.html', 'sgd.json', 'sam.html', 'sam.json', 'attack.png', 'digits/demo.html')
MEANING = (
    'Beyond the spread (±) of three seeds, a difference on the digits holds for this small network and these small '
    'images; it says nothing about larger ones, and the scenes, with one seed, rank no methods.'
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the folder of the results."""
    parser.add_argument('--out', type=Path, default=Path('demo'), metavar='DIR', help='of all files, demo by default')


def run(args: argparse.Namespace) -> None:
    """Train, test, tabulate, draw.

    Raises:
        OSError: if something cannot be read or written.
    """
    if find_spec('snakemake') is None:
        raise InputError('the table of the demo needs Snakemake; run `pip install samat-mm[tables]`.')
    from rich.console import Console

    from samat_mm.reports import Comparison, Report
    from samat_mm.reports.text import as_terminal_table
    from samat_mm.runners.console import console_of
    from samat_mm.tables.pages import terminal

    console, out = Console(highlight=False), args.out
    with saying_on_interrupt('The same command continues where it stopped.'):
        run_side_by_side([*(on_scenes(method, out) for method in METHODS), on_digits(out)], console)
    with console_of(verbose=False):
        draw(out, out / 'attack.png')
    scenes = Comparison.of({name: Report.load(out / f'{method}.json') for method, name in METHODS.items()})
    scenes.save(out / 'scenes.html')
    console.rule(f'DeepLabv3 on scenes of digits, {ITERATIONS} iterations')
    console.print(as_terminal_table(scenes.as_document()))
    console.rule()
    console.print(terminal.as_terminal_table(json.loads((out / 'digits' / 'demo.json').read_text(encoding='utf-8'))))
    console.print(f'{MEANING}\n', markup=False)
    console.print(f'Files in {out}: {", ".join(FILES)}.', markup=False)


def on_scenes(method: str, out: Path) -> list[Step]:
    """Return the training of the segmentor by a method, and its test."""
    config, title = config_of(method), f'scenes, {METHODS[method]}'
    length = [
        f'{key}={ITERATIONS}' for key in ('train_cfg.max_iters', 'train_cfg.val_interval', 'param_scheduler.1.end')
    ]
    train = ['train', config, '--work-dir', str(out / method), '--resume', '--cfg-options', *length]
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


def draw(out: Path, path: Path) -> None:
    """Draw the effect of the l2 attack on both models, image by image; its perturbation is easier to see."""
    import torch
    from mmengine.registry import init_default_scope
    from mmengine.runner import Runner
    from mmengine.utils import import_modules_from_strings

    from samat_mm.checkpoints.loading import load_for_evaluation
    from samat_mm.pixels.pixel_space import PixelSpace
    from samat_mm.presets import image_attacks
    from samat_mm.runners.config_files import load_config
    from samat_mm.visualization.panels import panel_rows
    from samat_mm.visualization.strips import save_figure

    (attack,) = image_attacks([ATTACKS[1]]).values()
    rows = []
    for method in METHODS:
        config = load_config(config_of(method))
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
