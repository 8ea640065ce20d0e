"""Demonstrate the main use on built-in data: train with SGD and with SAM, attack both, compare.

First a segmentor on scenes of digits, one seed each: demo/{sgd,sam}.json (the reports of samat-mm test) and
demo/attack.png. Then a classifier of handwritten digits, three seeds each, in demo/digits. If the demo is killed, run
it again to continue where it stopped.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from samat_mm.errors import MissingFileError
from samat_mm.files.configs import configs_folder

OUT = Path('demo')
METHODS = ('sgd', 'sam')
ATTACKS = ('pgd-linf', 'pgd-l2')
SHOWN = (0, 5)  # images of the validation set


def call(console: Any, *arguments: str) -> None:
    """Print a command and run it; if it fails, the demo exits, because the command prints its own error."""
    console.rule(f'samat-mm {" ".join(arguments)}', align='left')
    done = subprocess.run([sys.executable, '-m', 'samat_mm', *arguments], check=False)
    if done.returncode:
        sys.exit(done.returncode)


def draw(path: Path) -> None:
    """Draw the effect of the l2 attack on both models, image by image; its perturbation is easier to see."""
    import torch
    from mmengine.config import Config
    from mmengine.registry import init_default_scope
    from mmengine.runner import Runner
    from mmengine.utils import import_modules_from_strings

    from samat_mm.checkpoints.loading import load_for_evaluation
    from samat_mm.pixels.pixel_space import PixelSpace
    from samat_mm.presets import image_attacks
    from samat_mm.visualization.panels import panel_rows, save_figure

    (attack,) = image_attacks([ATTACKS[1]]).values()
    rows = []
    for method in METHODS:
        config = Config.fromfile(configs_folder() / f'deeplabv3_digits_{method}.py')
        import_modules_from_strings(**config.custom_imports)
        init_default_scope(config.default_scope)
        from mmseg.registry import DATASETS, MODELS

        model = MODELS.build(config.model).eval()
        load_for_evaluation(model, last_checkpoint(method))
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


def last_checkpoint(method: str) -> str:
    """Return the path of the newest checkpoint of a method."""
    from samat_mm.engine.resume import newest_checkpoint

    newest, skipped = newest_checkpoint(OUT / method)
    if newest is None:
        raise MissingFileError(f'there is no checkpoint in {OUT / method}. {" ".join(skipped.values())}')
    return str(newest)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add no arguments: there are none."""


def run(args: argparse.Namespace) -> None:
    """Train, test, tabulate, draw.

    Raises:
        OSError: if something cannot be read or written.
    """
    from rich.console import Console

    from samat_mm.evaluation import print_report
    from samat_mm.tables.pages.terminal import as_terminal_table

    console = Console()
    for method in METHODS:
        config = str(configs_folder() / f'deeplabv3_digits_{method}.py')
        call(console, 'train', config, '--work-dir', str(OUT / method), '--resume')
        report = str(OUT / f'{method}.json')
        work_dir = str(OUT / f'{method}_test')
        checkpoint = last_checkpoint(method)
        call(console, 'test', config, checkpoint, '--attack', *ATTACKS, '--out', report, '--work-dir', work_dir)
    draw(OUT / 'attack.png')
    reports = [json.loads((OUT / f'{method}.json').read_text(encoding='utf-8')) for method in METHODS]
    table = str(configs_folder() / 'tables' / 'smoke' / 'demo.py')
    call(console, 'reproduce', table, '--budget', 'smoke', '--out', str(OUT / 'digits'), '--quiet', 'rules')
    console.rule('result')
    print_report(*reports, console=console)
    console.print(as_terminal_table(json.loads((OUT / 'digits' / 'demo.json').read_text(encoding='utf-8'))))
    named = ', '.join(str(OUT / f'{method}.json') for method in METHODS)
    console.print(f'Reports: {named}, {OUT}/digits/demo.html. Figure: {OUT}/attack.png.')
