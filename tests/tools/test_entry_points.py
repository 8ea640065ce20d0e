"""The three ways to a command, and how soon it answers what needs no model."""

import os
import signal
import subprocess
import sys
import time

import pytest
from helpers import ROOT

from samat_mm.command_line.main import COMMANDS, main
from samat_mm.crafting.crafting import PRECISIONS
from samat_mm.crafting.protocols import PROTOCOLS
from samat_mm.datasets.preparation import LAYOUTS
from samat_mm.sharpness import Measurement
from samat_mm.sharpness.landscape import LANDSCAPES
from samat_mm.theory import Training

SLOW = ('torch', 'mmengine', 'matplotlib')
IMPORTED = """
import sys
from samat_mm.command_line.main import main
try:
    status = main(sys.argv[1:])
except SystemExit as end:
    status = end.code
print(status, *(name for name in {slow} if name in sys.modules), file=sys.stderr)
"""


def started(*arguments, folder, **more):
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)], cwd=folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more,
    )  # fmt: skip


@pytest.mark.parametrize(
    ('arguments', 'status', 'answer'),
    [
        (['--help'], 0, 'prepare-data  Unpack, check and install a downloaded data set'),
        *[([name, '--help'], 0, 'usage: samat-mm') for name in COMMANDS],
        (['tarin'], 2, "'tarin' is not a command; the commands are train, test"),
        (['train', 'none.py'], 1, 'config none.py is not a file'),
        (['train', 'samat_mm::smallcnn_handwriting_sma.py'], 1, 'samat_mm::smallcnn_handwriting_sam.py'),
        (['train', 'samat_mm::smallcnn_handwriting_sam.py', '--resume', 'none.pth'], 1, 'none.pth is not a file'),
        (['test', 'samat_mm::smallcnn_handwriting_sam.py', 'none.pth'], 1, 'checkpoint none.pth is not a file'),
        (
            ['test', 'samat_mm::smallcnn_handwriting_sam.py', __file__, '--attack', 'pdg-linf'],
            1,
            'Did you mean pgd-linf?',
        ),
        (['train', 'configs/smallcnn_handwritng_sgd'], 1, 'samat_mm has samat_mm::smallcnn_handwriting_sgd.py'),
        (['test', 'samat_mm::smallcnn_handwriting_sam.py', __file__, '--eps', 'x'], 1, "such as '8/255'; got 'x'"),
        (['test', 'samat_mm::smallcnn_handwriting_sam.py', __file__, '--eps', '2/255', '1/255'], 1, 'radii must rise'),
        (['test', 'samat_mm::smallcnn_handwriting_sam.py', __file__, '--tta'], 1, '--tta is not supported: attacks'),
        (['sharpness', 'samat_mm::smallcnn_handwriting_sam.py', 'none.pth'], 1, 'checkpoint none.pth is not a file'),
    ],
    ids=lambda value: ' '.join(value).replace('/', '-')[:60] if isinstance(value, list) else '',
)
def test_what_needs_no_model_is_answered_before_anything_slow_is_imported(arguments, status, answer, tmp_path):
    out, errors = started('-c', IMPORTED.format(slow=SLOW), *arguments, folder=tmp_path).communicate(timeout=60)
    assert answer in (out + errors).replace('\n', ' ').replace('  ', ' ') or answer in out + errors
    assert errors.splitlines()[-1] == str(status)
    assert not list(tmp_path.iterdir())


def test_the_three_ways_are_the_same(tmp_path):
    ways = [['-m', 'samat_mm', 'attacks', '--help'], [ROOT / 'tools' / 'attacks.py', '--help']]
    said = [started(*way, folder=tmp_path).communicate(timeout=60)[0] for way in ways]
    assert said[0].replace('samat-mm attacks', 'attacks.py') == said[1]
    for name in COMMANDS:
        assert f"run_command('{name}')" in (ROOT / 'tools' / f'{name.replace("-", "_")}.py').read_text()


def test_the_version(capsys):
    assert main(['--version']) == 0
    import samat_mm

    assert capsys.readouterr().out == f'samat-mm {samat_mm.__version__}\n'


def test_what_the_parsers_offer_is_what_there_is():
    """They repeat it, because importing it takes seconds."""
    from samat_mm.command_line import prepare_data, reproduce, sharpness, test_arguments, train
    from samat_mm.engine.resume import NEWEST

    assert tuple(PRECISIONS) == test_arguments.PRECISIONS
    assert test_arguments.PROTOCOLS == reproduce.PROTOCOLS == tuple(PROTOCOLS)
    assert set(prepare_data.COMPLETE) == set(LAYOUTS)
    assert sharpness.LANDSCAPES == LANDSCAPES
    assert train.NEWEST == NEWEST


@pytest.mark.parametrize(('name', 'value'), [('sharpness', Measurement()), ('theory', Training())])
def test_defaults_are_those_of_the_package(name, value):
    import argparse
    from importlib import import_module

    parser = argparse.ArgumentParser()
    import_module(f'samat_mm.command_line.{name}').add_arguments(parser)
    stated = {action.dest: action.default for action in parser._actions}
    shared = [field for field in vars(value) if field in stated]
    assert len(shared) >= 3
    assert {field: stated[field] for field in shared} == {field: getattr(value, field) for field in shared}


@pytest.mark.slow
def test_an_interrupted_training_says_how_to_go_on(tmp_path):
    config, options = (
        'samat_mm::smallcnn_handwriting_sam.py',
        ['train_cfg.max_epochs=400', 'train_cfg.val_interval=400'],
    )
    command = ['-m', 'samat_mm', 'train', config, '--work-dir', 'run', '--cfg-options', *options]
    process = started(*command, folder=tmp_path)
    lines = [process.stdout.readline() for _ in range(5)]
    assert lines[0].startswith('config')
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f'python -m samat_mm train {config} --work-dir run --cfg-options' in errors.splitlines()[-1]
    assert errors.splitlines()[-1].endswith(' --resume') and 'Traceback' not in errors
