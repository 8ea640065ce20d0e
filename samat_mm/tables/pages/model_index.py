"""The models of a table as OpenMMLab lists them: metafile.yml, and the model-index.yml that imports it."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config

from samat_mm.files.outputs import write_text
from samat_mm.tables.evidence import read_json
from samat_mm.tables.methods import key_of
from samat_mm.tables.pages.wording import Document, heading

PAPER = {
    'Title': 'On the Duality Between Sharpness-Aware Minimization and Adversarial Training',
    'URL': 'https://arxiv.org/abs/2402.15152',
}
METRICS = {  # as mmpretrain's metafiles have it; mIoU keeps its name
    'accuracy/top1': 'Top 1 Accuracy',
    'success_rate': 'Attack Success Rate',
}
DATA = {
    'CIFAR10': 'CIFAR-10',
    'CIFAR100': 'CIFAR-100',
    'DigitScenes': 'scenes of handwritten digits',
    'HandwrittenDigits': 'handwritten digits, 8x8',
    'RottenTomatoes': 'Rotten Tomatoes',
    'StanfordBackgroundDataset': 'Stanford Background',
    'TinyImageNet': 'Tiny ImageNet',
    'VOC2012Dataset': 'PASCAL VOC 2012',
}
HEADER = """\
# Written from the results of a table. Numbers are means over the seeds, in percent; under attack they carry the name of
# the table's column. The checkpoints have no public address, so no model has Weights; the table's pages list the
# commands that give them.
"""
Values = Mapping[str, Any]


def write_model_index(folder: Path) -> list[Path]:
    """Write metafile.yml, with the models of all tables in a folder, and model-index.yml.

    What a row was trained on is read from its config in the folder; without that file it is left out.

    Args:
        folder: The folder with the documents of the tables, see :func:`samat_mm.tables.results.collect`.

    Raises:
        OSError: if a file cannot be read or written.
    """
    collections, models = [], []
    for path in sorted(folder.glob('*.json')):
        document = read_json(path)
        if not isinstance(document, dict) or 'rows' not in document or 'columns' not in document:
            continue  # another file than the document of a table
        files = {row['name']: file for row in document['rows'] if (file := _config_file(document, row, folder))}
        configs = {name: Config.fromfile(folder / file, import_custom_modules=False) for name, file in files.items()}
        values = {name: config.to_dict() for name, config in configs.items()}
        found = metafile_of(document, values, {name: str(file) for name, file in files.items()})
        collections += found['Collections']
        models += found['Models']
    contents = {'metafile.yml': {'Collections': collections, 'Models': models}}
    contents['model-index.yml'] = {'Import': ['metafile.yml']}
    for name, values in contents.items():
        header = HEADER if name == 'metafile.yml' else ''
        write_text(folder / name, header + yaml.safe_dump(values, sort_keys=False))
    return [folder / name for name in contents]


def metafile_of(document: Document, configs: Mapping[str, Values], files: Mapping[str, str]) -> dict[str, Any]:
    """Return a table as a collection, and a model for each row with results, in plain containers.

    Args:
        document: As :func:`samat_mm.tables.results.collect` returns it.
        configs: By the name of a row, the config that it was trained by; those of a row may be missing.
        files: By the name of a row, the path of that config from the folder of the table.

    Source: the fields are those of https://github.com/paperswithcode/model-index, with those that OpenMMLab adds.
    """
    done = [row for row in document['rows'] if any(cell['mean'] is not None for cell in row['cells'].values())]
    models = [_model(document, row, configs.get(row['name'], {}), files.get(row['name'])) for row in done]
    collection = {
        'Name': heading(document),
        'Metadata': {
            'Training Data': _each(_data(configs[row['name']]) for row in done if row['name'] in configs),
            'Training Techniques': _each(row['settings']['method'] for row in done),
            'Architecture': _each(part for row in done for part in _architecture(configs.get(row['name'], {}))),
            'Budget': document['budget'],
            'Attacks': {name: attacks for name in document['columns'] if (attacks := _attacks(document, name))},
        },
        'Paper': PAPER.copy(),
        'README': 'docs/how-to/paper-tables.md',
    }
    return json.loads(json.dumps({'Collections': [collection], 'Models': models}))  # no other types than JSON's


def _model(document: Document, row: Values, config: Values, file: str | None) -> dict[str, Any]:
    cells = {name: cell for name, cell in row['cells'].items() if cell['mean'] is not None}
    attack = config.get('default_hooks', {}).get('adversarial_training', {}).get('attack')
    counts = {name: cell['n'] for name, cell in cells.items()}
    alike = len(set(counts.values())) == 1
    known = {'Training Data': _data(config), 'Architecture': _architecture(config)} if config else {}
    result = {
        'Task': _task(document),
        **({'Dataset': _data(config)} if config else {}),
        'Metrics': {_metric(document, name): cell['mean'] for name, cell in cells.items()},
    }
    return {
        'Name': f'table{document["table"]}-{document["budget"]}_{key_of(row["name"])}',
        'In Collection': heading(document),
        **({'Config': file} if file else {}),
        'Metadata': {
            **known,
            'Training Techniques': [row['name']],
            **({'Adversarial Training': attack} if attack else {}),
            'Budget': document['budget'],
            'Seeds': next(iter(counts.values())) if alike else counts,
        },
        'Results': [result],
    }


def _metric(document: Document, column: str) -> str:
    """Return 'mIoU' for the natural column, 'mIoU (linf-PGD)' for one under attack."""
    metric = str(document.get('column_metrics', {}).get(column, document['metric']))
    name = METRICS.get(metric, metric)
    return f'{name} ({column})' if document['columns'][column] else name


def _task(document: Document) -> str:
    if document.get('unit') == 'sentence':
        return 'Text Classification'
    return 'Semantic Segmentation' if document['metric'] == 'mIoU' else 'Image Classification'


def _attacks(document: Document, column: str) -> list[dict[str, Any]]:
    return [document['attacks'][attack] for attack in document['columns'][column]]


def _config_file(document: Document, row: Values, folder: Path) -> Path | None:
    """Return the config of a row's first training that is there, from the folder of the table."""
    files = [Path('cells', key_of(row['name']), f'seed{seed}', 'train.py') for seed in document['seeds']]
    return next((file for file in files if (folder / file).is_file()), None)


def _data(config: Values) -> str:
    """Return the name of the training data, of the innermost data set where one wraps another."""
    dataset = config.get('train_dataloader', {}).get('dataset', {})
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    kind = str(dataset.get('type', 'unknown'))
    return DATA.get(kind, kind)


def _architecture(config: Values) -> list[str]:
    """Return the types of backbone, neck and head, or that of a model that is not made of these."""
    model = config.get('model', {})
    parts = [model.get(part) or {} for part in ('backbone', 'neck', 'decode_head', 'head')]
    found = [part['type'] for part in parts if 'type' in part]
    return found or [kind for kind in (model.get('type'),) if kind]


def _each(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
