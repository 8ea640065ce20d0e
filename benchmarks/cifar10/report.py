"""Write and print the results of a row of the table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common import show

from cifar10.settings import COLUMNS, DATA_NOTE, METHODS, PAPER, PRECISION, Settings


def document(
    settings: Settings,
    plan: Mapping[str, Any],
    machine: Mapping[str, Any],
    parts: Mapping[str, Mapping[str, Any]],
    failures: Mapping[str, str],
) -> dict[str, Any]:
    """Return all results so far.

    Args:
        settings: settings of the run.
        plan: number of epochs and its derivation; empty until it is known.
        machine: description of the machine.
        parts: reports of the methods.
        failures: last output of the processes of failed methods.
    """
    return {
        'benchmark': 'cifar10_row',
        'complete': not failures and all(part.get('state') == 'done' for part in parts.values()),
        'data': {'file': Path(settings.data).name, 'sha256': settings.digest, 'note': DATA_NOTE},
        'machine': dict(machine),
        'model': Path(settings.model).name,
        'seed': settings.seed,
        'test_images': settings.test_images,
        'schedule': {
            **plan,
            'optimizer': 'SGD, learning rate 0.1 divided by 10 at 75 and 90 % of the steps, momentum 0.9, decay 5e-4',
            'batch': settings.batch,
            'precision': PRECISION,
            'paper_epochs': 100,
            'note': 'the same epochs for all methods, so SAM takes twice the gradients of SGD',
        },
        'paper': PAPER,
        'failures': dict(failures),
        'methods': {
            name: {**part, 'gradients_per_step': METHODS[name].gradients, 'paper': METHODS[name].paper()}
            for name, part in parts.items()
        },
    }


def show_table(found: Mapping[str, Any]) -> None:
    """Print the accuracies on the same images for all methods, with the published values in brackets."""
    rows = []
    for name, part in found['methods'].items():
        row = {'method': name}
        for column in COLUMNS:
            row[column] = f'{_accuracy(found, name, column)} ({part["paper"][column]})'
        row['epochs'] = str(part.get('epochs_done', 0))
        row['loss'] = f'{part["train_loss"]:.3f}' if 'train_loss' in part else '-'
        row['images/s'] = f'{part["images_per_second"]:.0f}' if 'images_per_second' in part else '-'
        rows.append(row)
    show(f'{found["model"]}, {found["schedule"].get("epochs", "?")} epochs, seed {found["seed"]}', rows)
    print(f'{found["data"]["note"]}; in brackets {found["paper"]}.')
    print(f'{found["schedule"]["note"]}; {found["schedule"]["precision"]}; {found["machine"]["name"]}.')
    if not found['complete']:
        print('Not complete: the rest did not fit into the time. Repeat the command with more time to continue.')


def _accuracy(found: Mapping[str, Any], method: str, column: str) -> str:
    """Return the accuracy on the largest set of images that all methods share, with its size unless it is all."""
    known = {name: part.get('results', {}).get(column, {}).get('parts', {}) for name, part in found['methods'].items()}
    shared = set.intersection(*(set(parts) for parts in known.values() if parts)) if known[method] else set()
    if not shared:
        return '-'
    images = max(shared, key=int)
    return f'{known[method][images]:.1f}' + ('' if int(images) == found['test_images'] else f' of {images}')
