"""The models of a table in OpenMMLab's index: read back, they say what the document says."""

import json

import pytest
import yaml

from samat_mm.tables.methods import key_of
from samat_mm.tables.pages.model_index import metafile_of, write_model_index
from samat_mm.tables.reading import read_table, table_names

METRIC = 'accuracy/top1'
KEYS = ('SGD', 'SAM_rho-0.1', 'linf-AT_eps-8_255')


def document_from(table, counts):
    """The document of a table with made-up results.

    ``counts`` holds, by the key of a row and by column, the number of seeds with a result; 0 where nothing is said.
    """
    rows = []
    for row in table.rows:
        cells = {}
        for number, column in enumerate(table.columns):
            n = counts.get(row.key, {}).get(column, 0)
            cells[column] = {
                'mean': 90.0 - number if n else None,
                'std': 1.0 if n > 1 else None,
                'n': n,
                'published': 5.0,
            }
        rows.append({'name': row.name, 'settings': dict(row.settings), 'cells': cells})
    return {
        'table': table.name.removeprefix('table'),
        'title': table.title,
        'budget': table.budget.name,
        'metric': table.metric,
        'seeds': list(table.seeds),
        'columns': {name: list(attacks) for name, attacks in table.columns.items()},
        'attacks': table.attack_configs(),
        'rows': rows,
    }


def write_training_configs(table, folder):
    """Write the configs of a table's trainings as the trainings do, and return the folder."""
    for row in table.rows:
        path = folder / 'cells' / row.key / 'seed0' / 'train.py'
        path.parent.mkdir(parents=True)
        table.training_config(row, 0).dump(path)
    return folder


@pytest.fixture
def document():
    """Table 2 with three seeds of SGD, one of SAM and of linf-AT, which lacks two columns, and nothing of the rest."""
    table = read_table('table2', 'smoke')
    counts = {key: dict.fromkeys(table.columns, number) for key, number in zip(KEYS, (3, 1, 1), strict=True)}
    counts[KEYS[2]] |= {'StAdv': 0, 'average': 0}
    return document_from(table, counts)


@pytest.fixture
def folder(tmp_path):
    return write_training_configs(read_table('table2', 'smoke'), tmp_path)


def write(document, folder):
    """Write the document as a run of the table does, and then the index."""
    (folder / f'table{document["table"]}.json').write_text(json.dumps(document))
    return write_model_index(folder)


def read(path):
    return yaml.safe_load(path.read_text(encoding='utf-8'))


def test_the_index_says_what_the_document_says(document, folder):
    assert [path.name for path in write(document, folder)] == ['metafile.yml', 'model-index.yml']
    assert read(folder / 'model-index.yml') == {'Import': ['metafile.yml']}
    found = read(folder / 'metafile.yml')
    (collection,) = found['Collections']
    assert [model['Name'] for model in found['Models']] == [f'table2-smoke_{key}' for key in KEYS]
    rows = {key_of(row['name']): row for row in document['rows']}
    for key, model in zip(KEYS, found['Models'], strict=True):
        assert list(model) == ['Name', 'In Collection', 'Config', 'Metadata', 'Results']
        assert model['In Collection'] == collection['Name'] and (folder / model['Config']).is_file()
        (result,) = model['Results']
        assert (result['Task'], result['Dataset']) == ('Image Classification', 'handwritten digits, 8x8')
        expected = {
            'Top 1 Accuracy' if column == 'natural' else f'Top 1 Accuracy ({column})': cell['mean']
            for column, cell in rows[key]['cells'].items()
            if cell['mean'] is not None
        }
        assert result['Metrics'] == expected and len(expected) == (7 if key.startswith('linf') else 9)
    sgd, sam, at = (model['Metadata'] for model in found['Models'])
    assert (sgd['Seeds'], sam['Seeds'], at['Seeds']) == (3, 1, 1)
    assert sam['Training Techniques'] == ['SAM (rho = 0.1)'] and sam['Architecture'][0] == 'SmallCNN'
    assert at['Adversarial Training']['eps'] == pytest.approx(0.1) and 'Adversarial Training' not in sam  # as trained
    assert {entry['Budget'] for entry in (sgd, sam, at)} == {'smoke'}


def test_the_collection_describes_the_table(document, folder):
    write(document, folder)
    (collection,) = read(folder / 'metafile.yml')['Collections']
    assert list(collection) == ['Name', 'Metadata', 'Paper', 'README']
    metadata = collection['Metadata']
    assert metadata['Training Data'] == ['handwritten digits, 8x8']
    assert metadata['Training Techniques'] == ['SGD', 'SAM', 'linf-AT']
    assert set(collection['Paper']) == {'Title', 'URL'}
    (pgd,) = metadata['Attacks']['linf-PGD']
    assert pgd['eps'] == pytest.approx(0.05) and 'natural' not in metadata['Attacks']
    header = (folder / 'metafile.yml').read_text().split('Collections:')[0]
    assert 'no model has Weights' in header and all(line.startswith('#') for line in header.splitlines())


def test_seeds_are_counted_by_column_where_they_differ():
    table = read_table('table2', 'smoke')
    counts = {**dict.fromkeys(table.columns, 2), 'StAdv': 1}
    (model,) = metafile_of(document_from(table, {'SGD': counts}), {}, {})['Models']
    assert model['Metadata']['Seeds'] == counts


def test_a_table_without_results_has_no_models(tmp_path):
    write(document_from(read_table('table2'), {}), tmp_path)
    found = read(tmp_path / 'metafile.yml')
    assert found['Models'] == [] and found['Collections'][0]['Metadata']['Training Data'] == []


def test_what_is_not_known_is_left_out(document, tmp_path):
    """Without the configs of the trainings nothing is claimed about their data."""
    write(document, tmp_path)
    for model in read(tmp_path / 'metafile.yml')['Models']:
        assert 'Config' not in model and 'Dataset' not in model['Results'][0]
        assert not {'Training Data', 'Architecture'} & set(model['Metadata'])


def test_it_is_the_same_each_time(document, folder):
    write(document, folder)
    text = (folder / 'metafile.yml').read_text()
    write(document, folder)
    assert (folder / 'metafile.yml').read_text() == text


def test_tables_that_share_a_folder_share_the_index(document, folder):
    table = read_table('table5', 'smoke')
    write(document_from(table, {'SGD': dict.fromkeys(table.columns, 3)}), folder)
    write(document, folder)
    found = read(folder / 'metafile.yml')
    assert len(found['Collections']) == 2
    assert [model['Name'] for model in found['Models']][-1] == 'table5-smoke_SGD'


@pytest.mark.parametrize('name', table_names())
def test_every_table_has_an_index(name, tmp_path):
    table = read_table(name)
    counts = {row.key: dict.fromkeys(table.columns, 1) for row in table.rows}
    write(document_from(table, counts), write_training_configs(table, tmp_path))
    found = read(tmp_path / 'metafile.yml')
    assert len({model['Name'] for model in found['Models']}) == len(table.rows)
    data = {
        'table2': 'CIFAR-10',
        'table7': 'Tiny ImageNet',
        'table8': 'Stanford Background',
        'table9': 'PASCAL VOC 2012',
    }
    for model in found['Models']:
        (result,) = model['Results']
        segmented = table.metric == 'mIoU'
        assert result['Task'] == ('Semantic Segmentation' if segmented else 'Image Classification')
        assert result['Metrics']['mIoU' if segmented else 'Top 1 Accuracy'] == 90.0
        assert result['Dataset'] == data.get(name, result['Dataset']) != 'unknown'
        assert model['Metadata']['Architecture']
