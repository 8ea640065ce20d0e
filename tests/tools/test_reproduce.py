"""tools/reproduce.py: what it hands to Snakemake, and what it refuses."""

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import ROOT

from samat_mm.command_line import reproduce
from samat_mm.tables.cells import trainings
from samat_mm.tables.reading import read_table
from samat_mm.tables.results import collect

TOOL = ROOT / 'tools' / 'reproduce.py'


def run(*arguments, folder):
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    return subprocess.run(
        [sys.executable, str(TOOL), *map(str, arguments)], capture_output=True, text=True, cwd=folder, env=environment
    )


def test_a_dry_run_lists_a_training_and_a_test_for_each_row_and_seed(tmp_path):
    pytest.importorskip('snakemake')
    done = run(
        'table2', '--budget', 'smoke', '--out', tmp_path / 'out', '--dry-run', '--quiet', 'rules', folder=tmp_path
    )
    assert done.returncode == 0, done.stderr
    counts = dict(
        line.split() for line in done.stdout.splitlines() if len(line.split()) == 2 and line.split()[1].isdigit()
    )
    assert counts == {'train': '24', 'evaluate': '24', 'table': '1', 'pages': '1', 'total': '50'}
    configs = sorted(path.relative_to(tmp_path / 'out') for path in (tmp_path / 'out').rglob('*.py'))
    assert len(configs) == 48 and str(configs[0]) == 'cells/Adam/seed0/fgsm-linf_pixle.py'


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['table1'], "table 'table1' is unknown; the known ones are duality, duality-segmentation, table2"),
        (['table2', '--rows', 'SAM'], "table2 has no row 'SAM'; it has SGD, Adam"),
        (['all', '--rows', 'SGD'], 'the rows of the tables differ; name one table'),
        (['table2', '--dry-run', '--step-times', 'none.json'], 'none.json'),
    ],
)
def test_mistakes_are_one_sentence(arguments, message, tmp_path):
    done = run(*arguments, folder=tmp_path)
    assert done.returncode == 1 and message in done.stderr and 'Traceback' not in done.stderr
    assert not list(tmp_path.iterdir())


def test_all_tables_are_rebuilt_one_after_the_other_until_one_fails(monkeypatch):
    one_by_one, calls = reproduce.one_by_one, []

    def rebuild(call):
        calls.append(call)
        return SimpleNamespace(returncode=0 if 'table2' not in call else 3)

    monkeypatch.setattr(subprocess, 'run', rebuild)
    args = SimpleNamespace(budget='smoke', protocol='strict', seeds=[4, 5], out=Path('out'))
    with pytest.raises(SystemExit, match='3'):
        one_by_one(args, ['--cores', '2'])
    assert [call[4] for call in calls] == ['duality', 'duality-segmentation', 'table2']
    assert list(map(str, calls[-1][5:])) == (
        ['--budget', 'smoke', '--protocol', 'strict', '--seeds', '4', '5', '--out', 'out/table2-smoke', '--cores', '2']
    )


def test_a_table_that_was_not_measured_has_no_estimate(tmp_path, capsys):
    times = tmp_path / 'times.json'
    times.write_text('{"networks": {}}')
    args = SimpleNamespace(budget='paper', protocol='strict', rows=['SGD'], seeds=[0], step_times=times)
    reproduce.announce(['table2'], args)
    said = capsys.readouterr().out
    assert said.startswith("No estimate for table2: the measured times have no 'preactresnet18_cifar10'")


def test_a_folder_belongs_to_one_run_until_it_ends(tmp_path):
    with (tmp_path / '.lock').open('w') as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match='another process rebuilds a table'):
            reproduce.claim(tmp_path)
    reproduce.claim(tmp_path)


def test_configs_are_written_again_only_if_they_change(tmp_path):
    table = read_table('table8', 'smoke').with_rows(['SGD', 'SAM_rho-0.01']).with_seeds([3])
    first, second = trainings(table, tmp_path)
    first.write_configs()
    times = [path.stat().st_mtime_ns for path in (first.config_file, first.evaluations[0].config_file)]
    folder = first.work_dir()
    first.write_configs()
    assert [path.stat().st_mtime_ns for path in (first.config_file, first.evaluations[0].config_file)] == times
    changed = next(trainings(read_table('table8', 'short').with_rows(['SGD']).with_seeds([3]), tmp_path))
    changed.write_configs()
    assert first.config_file.stat().st_mtime_ns > times[0]
    assert first.work_dir() != folder  # so that no checkpoint of another schedule is resumed
    assert second.name == 'SAM_rho-0.01/seed3'


def test_the_document_is_made_of_the_finished_reports(tmp_path):
    table = read_table('table8', 'smoke').with_rows(['SGD']).with_seeds([0, 1])
    done, _ = trainings(table, tmp_path)
    done.write_configs()
    done.trained_file.write_text('work/iter_100.pth')
    results = {'clean': {'mIoU': 60.0}, 'pgd-linf': {'mIoU': 50.0}, 'pgd-l2': {'mIoU': 40.0}}
    (evaluation,) = done.evaluations
    assert evaluation.report_file.name == 'pgd-linf_pgd-l2.json'
    evaluation.report_file.write_text(json.dumps({'results': results, 'samples': 100, 'versions': {}}))
    document = collect(trainings(table, tmp_path), tmp_path / 'table8.json')
    assert document == json.loads((tmp_path / 'table8.json').read_text())
    assert document['rows'][0]['cells']['linf-PGD'] == {'mean': 50.0, 'std': None, 'n': 1, 'published': 57.3}
    commands = document['commands']['SGD/seed0']
    assert commands[0].startswith(f'samat-mm train {tmp_path}/cells/SGD/seed0/train.py --resume --work-dir')
    assert 'work/iter_100.pth' in commands[1] and list(document['commands']) == ['SGD/seed0']
