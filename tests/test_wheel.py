"""The wheel, installed in a folder of its own and used from an empty one, as from a package index."""

import json
import os
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest
from helpers import ROOT

import samat_mm
from samat_mm.command_line.main import COMMANDS

SOURCES = ('samat_mm', 'configs')  # folders of the wheel
BUILD = ('setup.py', 'pyproject.toml', 'README.md', 'LICENSE')
CONFIG = """
_base_ = 'samat_mm::smallcnn_handwriting_sam.py'
train_cfg = dict(max_epochs=1)
val_cfg = val_dataloader = val_evaluator = None
"""


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """The wheel of the checkout, built without a network and without files in the checkout."""
    folder = tmp_path_factory.mktemp('wheel')
    for name in SOURCES:
        copytree(ROOT / name, folder / 'source' / name, ignore=ignore_patterns('__pycache__'))
    for name in BUILD:
        (folder / 'source' / name).write_bytes((ROOT / name).read_bytes())
    offline = ('--no-deps', '--no-index', '--no-build-isolation', '--disable-pip-version-check', '--quiet')
    command = [sys.executable, '-m', 'pip', 'wheel', *offline, '--wheel-dir', str(folder), str(folder / 'source')]
    subprocess.run(command, check=True)
    return next(folder.glob('*.whl'))


@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory):
    """The folder in which the wheel is installed; everything else comes from the environment of the tests."""
    site = tmp_path_factory.mktemp('site')
    command = [sys.executable, '-m', 'pip', 'install', '--no-deps', '--no-index', '--quiet', '--target', site, wheel]
    subprocess.run(list(map(str, command)), check=True)
    return site


@pytest.fixture
def call(installed, tmp_path):
    """Run the console script of the wheel in an empty folder; returns the process."""

    def run(*arguments, status=0):
        environment = {**os.environ, 'PYTHONPATH': str(installed), 'COLUMNS': '100'}
        command = [sys.executable, '-W', 'ignore', str(installed / 'bin' / 'samat-mm'), *map(str, arguments)]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == status, done.stdout[-2000:] + done.stderr[-2000:]
        return done

    return run


def test_the_wheel_has_the_whole_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        info = next(name for name in names if name.endswith('.dist-info/METADATA'))
        metadata = Parser().parsestr(archive.read(info).decode())
    assert metadata['Version'] == samat_mm.__version__
    assert metadata['License-Expression'] or metadata['License'] == 'Apache-2.0'
    package = {path.relative_to(ROOT) for path in (ROOT / 'samat_mm').rglob('*') if path.is_file()}
    configs = {Path('samat_mm') / path.relative_to(ROOT) for path in (ROOT / 'configs').rglob('*.py')}
    expected = {path.as_posix() for path in package | configs if '__pycache__' not in path.parts}
    assert {'samat_mm/py.typed', 'samat_mm/workflow/Snakefile', 'samat_mm/tables/step_times.json'} <= expected
    assert {name for name in names if '.dist-info/' not in name} == expected


def test_training_test_comparison_and_dry_run_from_an_empty_folder(call, installed, tmp_path):
    (tmp_path / 'mine.py').write_text(CONFIG)
    call('train', 'mine.py')
    checkpoint = tmp_path / 'work_dirs/mine/epoch_1.pth'
    assert checkpoint.is_file()
    command = ('test', 'samat_mm::smallcnn_handwriting_sgd.py', checkpoint.relative_to(tmp_path), '--max-samples', 20)
    call(*command, '--attack', 'fgsm-linf', '--out', 'report.json')
    report = json.loads((tmp_path / 'report.json').read_text())
    assert report['results'].keys() == {'clean', 'fgsm-linf'}
    assert report['versions']['samat-mm'] == samat_mm.__version__
    assert report['provenance']['command'].startswith('samat-mm test samat_mm::smallcnn_handwriting_sgd.py work_dirs/')
    assert report['provenance']['code'] == {}  # it is no checkout, although this repository is one
    assert report['config'] == 'samat_mm::smallcnn_handwriting_sgd.py'
    assert str(installed) not in json.dumps(report)
    call('compare', 'report.json', '--out', 'page.html')
    assert 'fgsm-linf' in (tmp_path / 'page.html').read_text()
    said = call('reproduce', 'table2', '--budget', 'smoke', '--seeds', 0, '--dry-run').stdout
    assert 'rule train' in said
    assert not (tmp_path / 'tables' / 'table2.json').exists()


def test_every_command_says_what_it_takes(call):
    for name in COMMANDS:
        assert call(name, '--help').stdout.startswith(f'usage: samat-mm {name} ')
    assert call('--version').stdout == f'samat-mm {samat_mm.__version__}\n'


def test_a_mistake_in_a_name_is_a_sentence(call):
    error = call('train', 'samat_mm::smallcnn_handwriting_sma.py', status=1).stderr
    assert 'samat_mm::smallcnn_handwriting_sam.py' in error
    assert 'Traceback' not in error
