"""The last screen of the demo: methods, not paths; the files; what the numbers say. Its commands are not run."""

import json

import pytest

from samat_mm.command_line import demo
from samat_mm.command_line.main import main


def report(clean, attacked):
    attack = {'attack': {'eps': 1 / 255}}
    results = {'clean': {'mIoU': clean}, 'pgd-linf': {'mIoU': attacked, **attack}}
    return {'config': f'{clean}.py', 'checkpoint': f'{clean}.pth', 'samples': 100, 'seed': 0, 'results': results}


DIGITS = {'document': 'of the table'}


@pytest.fixture
def commands(monkeypatch):
    """Write what the commands would, and return them."""
    seen = []

    def run(chains, console):
        steps = [step for chain in chains for step in chain]
        for step in steps:
            seen.append(step.arguments)
            if step.arguments[0] == 'test':
                out = step.log.parent / f'{step.log.stem.partition("_")[0]}.json'
                out.write_text(json.dumps(report(74.6 + len(seen), 71.25)))
        folder = steps[-1].log.parent / 'digits'
        folder.mkdir()
        (folder / 'demo.json').write_text(json.dumps(DIGITS))

    monkeypatch.setattr(demo, 'run_side_by_side', run)
    monkeypatch.setattr(demo, 'draw', lambda out, path: None)
    monkeypatch.setattr('samat_mm.tables.pages.terminal.as_terminal_table', lambda document: str(document))
    return seen


def test_the_last_screen(commands, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('COLUMNS', '80')
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'out').mkdir()
    assert main(['demo', '--out', 'out']) == 0
    shown = capsys.readouterr().out
    words = ' '.join(shown.split())
    assert all(said in words for said in ('SAM, rho 0.05', '1/255', '71.25', str(DIGITS), 'rank no method'))
    assert '.py' not in shown and max(map(len, shown.splitlines())) <= 80
    assert ' '.join(shown.split()).endswith(f'Files in out: {", ".join(demo.FILES)}.')
    assert 'SGD' in (tmp_path / 'out' / 'scenes.html').read_text()


def test_a_test_takes_the_last_checkpoint_of_its_training(commands, tmp_path):
    main(['demo', '--out', str(tmp_path)])
    train, test = commands[:2]
    assert f'train_cfg.max_iters={demo.ITERATIONS}' in train and '--resume' in train
    assert test[2] == f'{train[train.index("--work-dir") + 1]}/iter_{demo.ITERATIONS}.pth'


def test_help_starts_nothing(commands, capsys):
    with pytest.raises(SystemExit) as ended:
        main(['demo', '--help'])
    assert ended.value.code == 0 and not commands and '--out DIR' in capsys.readouterr().out
