"""samat-mm sharpness as its users meet it: a table, a report, figures, or one sentence."""

import json
import sys

import cv2
import pytest
import torch
from helpers import classifier, segmentor, segmentor_config

from samat_mm.command_line.main import run_command
from samat_mm.compat import TRUST_VARIABLE

CONFIG = """
custom_imports = dict(imports=['samat_mm', 'helpers'], allow_failed_imports=False)
default_scope = 'mmseg'
model = {model}
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(type='RegisteredImages', count=5),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=1, val_interval=1)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))
log_level = 'ERROR'
work_dir = {work_dir!r}
"""
QUICK = ('--batches', 1, '--steps', 2, '--probes', 0)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A config, two checkpoints of it and one of another architecture."""
    path = tmp_path_factory.mktemp('sharpness')
    model = segmentor_config().to_dict()
    (path / 'config.py').write_text(CONFIG.format(model=model, work_dir=str(path / 'work')))
    torch.save({'state_dict': segmentor().state_dict()}, path / 'one.pth')
    torch.save({'state_dict': segmentor(seed=1).state_dict()}, path / 'two.pth')
    torch.save({'state_dict': classifier().state_dict()}, path / 'other.pth')
    return path


@pytest.fixture
def tool(monkeypatch, capfd, folder):
    """Run the command in this process on checkpoints of the folder; returns its status, output and errors."""
    monkeypatch.delenv(TRUST_VARIABLE, raising=False)
    monkeypatch.delenv('SAMAT_MM_DEBUG', raising=False)
    monkeypatch.setenv('COLUMNS', '200')

    def run(checkpoints, *options, config='config.py'):
        paths = [folder / config, *(folder / name for name in checkpoints)]
        monkeypatch.setattr(sys, 'argv', ['tools/sharpness.py', *map(str, [*paths, *options])])
        capfd.readouterr()
        try:
            status = run_command('sharpness')
        except SystemExit as end:
            status = end.code
        captured = capfd.readouterr()
        return status, captured.out, captured.err

    return run


def test_one_checkpoint_gives_a_table_and_a_report(tool, folder, tmp_path):
    out = tmp_path / 'new' / 'report.json'
    status, text, errors = tool(
        ['one.pth'], '--batches', 2, '--steps', 2, '--probes', 2, '--seed', 3, '--rho', 0.1, '--out', out
    )
    assert status == 0, errors
    report = json.loads(out.read_text())
    assert report['config'] == str(folder / 'config.py')
    assert report['checkpoint'] == str(folder / 'one.pth')
    assert (report['seed'], report['samples']) == (3, 4)
    assert report['settings'] == dict(rho=0.1, asam_rho=0.5, steps=2, probes=2, seed=3)
    assert 0 < report['results']['sam'] <= report['results']['sam-2-step']
    assert {'loss', 'asam', 'top_eigenvalue', 'trace', 'trace_standard_error'} <= set(report['results'])
    assert 'torch' in report['versions']
    assert all(name in text for name in ('sam-2-step', 'top_eigenvalue', 'trace', '±', '4 training images, seed 3'))
    assert f'{report["results"]["sam"]:.4g}' in text


def test_several_checkpoints_get_a_column_and_a_curve_each(tool, tmp_path):
    out, figures = tmp_path / 'report.json', tmp_path / 'figures'
    status, text, errors = tool(['one.pth', 'two.pth'], *QUICK, '--seed', 3, '--out', out, '--figures', figures)
    assert status == 0, errors
    first, second = json.loads(out.read_text())
    assert first['results'] != second['results']
    assert 'one' in text
    assert 'two' in text
    assert sorted(path.name for path in figures.iterdir()) == ['landscape.png', 'loss_rise.png']
    for path in figures.iterdir():
        assert cv2.imread(str(path)).std() > 10
    curves = first['curves']
    assert curves['rises'][0] == 0
    assert curves['rises'][curves['radii'].index(0.05)] == pytest.approx(first['results']['sam'], rel=1e-4)
    middle = len(curves['positions']) // 2
    assert curves['losses'][middle] == pytest.approx(first['results']['loss'], rel=1e-6)


def test_a_plane_gets_a_figure_per_checkpoint(tool, tmp_path, monkeypatch):
    monkeypatch.setattr('samat_mm.sharpness.landscape.loss_landscape.__defaults__', (3, 1.0, 0))
    status, _, errors = tool(['one.pth'], *QUICK, '--steps', 1, '--figures', tmp_path, '--landscape', '2d')
    assert status == 0, errors
    (plane,) = tmp_path.glob('landscape-*one.png')
    assert cv2.imread(str(plane)).std() > 10
    assert (tmp_path / 'landscape.png').is_file()


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        (['--batches', 0], 'the number of batches must be at least 1; got 0'),
        (['--steps', 0], 'steps must be at least 1; got 0'),
        (['--probes', 1], 'probes must be 0, for no Hessian, or at least 2; got 1'),
        (['--rho', -1], 'rho must be a finite number of at least 0; got -1.0'),
        (['--landscape', '2d'], '--landscape needs --figures DIR'),
        ({'config': 'nothing.py'}, 'nothing.py is not a file'),
        ({'checkpoints': ['nothing.pth']}, 'nothing.pth is not a file'),
        ({'checkpoints': ['other.pth']}, 'of another architecture than the EncoderDecoder'),
        ({'checkpoints': ['one.pth', 'one.pth']}, 'a checkpoint is given twice'),
    ],
    ids=str,
)
def test_a_mistake_is_one_sentence_and_a_status(options, sentence, tool):
    given = {'checkpoints': ['one.pth'], **(options if isinstance(options, dict) else {})}
    status, _, errors = tool(given.pop('checkpoints'), *(options if isinstance(options, list) else []), **given)
    assert status == 1
    (line,) = (line for line in errors.splitlines() if line.startswith('error: '))
    assert sentence in line
    assert 'Traceback' not in errors
