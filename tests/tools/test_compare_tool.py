"""samat-mm compare: names, files, and what is refused."""

import json

import pytest
from rich.cells import cell_len

from samat_mm.command_line.main import main


def report(config, seed, robust):
    attack = {'type': 'PGD', 'norm': 'linf', 'eps': 1 / 255}
    results = {'clean': {'mIoU': 70.0 + seed}, 'pgd-linf': {'mIoU': robust + seed, 'attack': attack}}
    return {'config': config, 'checkpoint': f'{config}{seed}.pth', 'seed': 0, 'samples': 9, 'results': results}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two trainings of SGD, a.json and b.json, and two of SAM, c.json and 'rho=0.1.json'."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('COLUMNS', '80')
    files = {'a': ('sgd', 0, 10), 'b': ('sgd', 1, 10), 'c': ('sam', 0, 30), 'rho=0.1': ('sam', 1, 30)}
    for name, (method, seed, robust) in files.items():
        document = report(f'configs/deeplabv3_stanford_{method}.py', seed, robust)
        (tmp_path / f'{name}.json').write_text(json.dumps(document))
    return tmp_path


def test_without_names_the_reports_of_a_config_are_a_method(folder, capsys):
    assert main(['compare', 'a.json', 'b.json', 'c.json', 'rho=0.1.json']) == 0
    text = capsys.readouterr().out
    assert max(map(cell_len, text.splitlines())) <= 80
    cells = [line.strip('│').split('│') for line in text.splitlines() if line.startswith('│')]
    assert [[cell.strip() for cell in row] for row in cells] == [
        ['deeplabv3_stanford_sgd', '2', '70.50 ± 0.71', '10.50 ± 0.71'],
        ['deeplabv3_stanford_sam', '2', '70.50 ± 0.71', '30.50 ± 0.71*'],
    ]
    assert 'Mean ± sample standard deviation over n trainings.' in text and '\x1b' not in text
    assert {path.suffix for path in folder.iterdir()} == {'.json'}


def test_names_and_several_files(folder, capsys):
    outs = ['--out', 'new/page.html', '--out', 'table.tex', '--out', 'table.csv', '--out', 'table.json']
    assert main(['compare', 'SGD=a.json', 'SGD=b.json', 'SAM=rho=0.1.json', 'c.json', *outs]) == 0
    text = capsys.readouterr().out
    assert 'Comparison: new/page.html, table.tex, table.csv, table.json.' in text
    document = json.loads((folder / 'table.json').read_text())
    assert [(method['name'], method['trainings']) for method in document['methods']] == [
        ('SGD', 2), ('SAM', 1), ('deeplabv3_stanford_sam', 1),
    ]  # fmt: skip
    assert all((folder / name).stat().st_size > 100 for name in ('new/page.html', 'table.tex', 'table.csv'))


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['a.json', 'nowhere.json'], 'nowhere.json is missing'),
        (['a.json', 'a.json'], 'a.json is given twice'),
        (['a.json', '--out', 'table.pdf'], "a report is saved as .json, .html, .tex or .csv; got 'table.pdf'"),
        (['a.json', 'b.json', '--out', './b.json'], '--out ./b.json would overwrite a report'),
        (['a.json', 'other.json'], 'the number of samples is 9 in a.json and 10 in other.json'),
        (['text.json'], 'text.json is no report, because it is not JSON'),
    ],
)
def test_mistakes_end_with_a_sentence_before_anything_is_written(arguments, sentence, folder, capsys):
    (folder / 'other.json').write_text(json.dumps({**report('sam.py', 0, 1), 'samples': 10}))
    (folder / 'text.json').write_text('no report')
    before = sorted(folder.iterdir())
    with pytest.raises(SystemExit) as ended:
        main(['compare', *arguments])
    assert ended.value.code == 1
    shown = capsys.readouterr()
    assert sentence in shown.err and shown.err.count('\n') == 1 and shown.out == ''
    assert sorted(folder.iterdir()) == before
