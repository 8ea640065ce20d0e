"""The cost benchmarks on the fake device, ``cpu``, with small models: valid records, in time, also when killed."""

import importlib
import json
import multiprocessing
import os
import runpy
import signal
import sys
import time
from pathlib import Path

import pytest
import torch

import samat_mm  # noqa: F401

FOLDER = Path(__file__).parents[2] / 'benchmarks'
STEPS = ['SAM', 'two-step optimizer', 'SAM, ascent in bfloat16']
SMALL = ['--device', 'cpu', '--models', 'tiny', '--rounds', '1']
pytestmark = pytest.mark.skipif(torch.cuda.is_initialized(), reason='CUDA cannot be forked')


@pytest.fixture(autouse=True, scope='module')
def imported():
    """What takes long to import is there already in the processes that the tests fork."""
    for name in ('mmpretrain.models', 'mmseg.models', 'torchattacks', 'rich.progress', 'torch._inductor'):
        importlib.import_module(name)


def enter(script: str, argv: list[str], prepare) -> None:
    sys.path.insert(0, str(FOLDER))
    sys.argv = [script, *argv]
    prepare()
    runpy.run_path(str(FOLDER / script), run_name='__main__')


def begun(script: str, *argv: str, prepare=lambda: None) -> multiprocessing.Process:
    process = multiprocessing.get_context('fork').Process(target=enter, args=(script, list(argv), prepare))
    process.start()
    return process


def run(script: str, out: Path, *argv: str, prepare=lambda: None) -> dict:
    process = begun(script, *argv, '--out', str(out), prepare=prepare)
    process.join()
    assert process.exitcode == 0
    return json.loads(out.read_text())


def test_steps_are_measured_beside_sgd(tmp_path):
    options = ['--methods', *STEPS, '--numerics', 'float32', 'bfloat16, channels last', '--also', 'memory', 'kernels']
    record = run('step_cost.py', tmp_path / 'steps.json', *SMALL, *options, 'growth')
    assert record['complete'] and not record['left_out'] and not record['goals']
    assert record['machine']['name'] and record['machine']['versions']['torch'] == torch.__version__
    found = record['results']['tiny']
    assert list(found['steps']) == ['SGD', *STEPS]
    assert list(found['steps, bfloat16, channels last']) == ['SGD', 'SAM', 'two-step optimizer']
    for row in (*found['steps'].values(), *found['steps, bfloat16, channels last'].values()):
        assert len(row['seconds']) == len(row['cpu_seconds']) == 1 and 'device_seconds' not in row
        assert 0 < row['in_kernels'] <= 1
        assert row['images_per_second'] == pytest.approx(4 / row['cpu_seconds'][0])
    assert found['steps']['SAM']['extra_weights'] == pytest.approx(1, abs=0.1)
    sgd, sam = (found['steps'][name]['cpu_seconds'][0] for name in ('SGD', 'SAM'))
    assert found['steps']['SAM']['cpu_ratio'] == pytest.approx(sam / sgd) and sam > sgd
    assert found['growth'].keys() == {'SGD', 'SAM'} and found['growth']['SAM'].keys() == {'2', '4'}


def test_attacks_are_measured_at_their_strength(tmp_path):
    options = ['--attacks', 'pgd', '--numerics', 'float32', 'TF32', '--also', 'kernels', 'growth']
    record = run('attack_cost.py', tmp_path / 'attacks.json', *SMALL, *options)
    assert record['complete'] and not record['left_out']
    found = record['results']['tiny']
    assert 0 < found['share_of_convolutions'] < 1
    for contest in (found['pgd'], found['pgd, TF32']):
        assert contest['clean']['accuracy'] == 1
        assert contest['attacks'].keys() > {'samat_mm, float32', 'samat_mm, bfloat16', 'torchattacks'}
        for row in contest['attacks'].values():
            assert row['loss'] > contest['clean']['loss'] and row['accuracy'] < 1
            assert 0 < row['in_kernels'] <= 1
        ours, theirs = (contest['attacks'][name] for name in ('samat_mm, float32', 'torchattacks'))
        assert ours['ratios']['torchattacks'] == pytest.approx([theirs['cpu_seconds'][0] / ours['cpu_seconds'][0]])
    assert found['growth'].keys() >= {'samat_mm, float32', 'samat_mm, bfloat16'}


@pytest.mark.parametrize(
    ('script', 'options'),
    [('step_cost.py', ['--also', '--methods', 'SAM']), ('attack_cost.py', ['--attacks', 'pgd'])],
)
def test_killed_in_the_middle_it_leaves_what_it_had(script, options, tmp_path):
    out = tmp_path / 'record.json'
    both = ['--models', 'tiny', 'tiny-segmentor', '--rounds', '1', *options, '--out', str(out)]
    process = begun(script, *both)
    while not out.exists() or not any('SGD' in str(entry) or 'pgd' in entry for entry in read(out).values()):
        assert process.is_alive()
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    record = json.loads(out.read_text())
    assert list(record['results']) == ['tiny'] and not record['complete']


def read(out: Path) -> dict:
    return json.loads(out.read_text())['results']  # fails if it is ever half a record


@pytest.mark.parametrize('script', ['step_cost.py', 'attack_cost.py'])
def test_it_ends_in_the_minutes_it_is_given(script, tmp_path):
    began = time.monotonic()
    endless = ['--models', 'tiny', 'tiny-segmentor', '--rounds', '1000000', '--minutes', '0.04']
    record = run(script, tmp_path / 'record.json', *endless)
    assert time.monotonic() - began < 0.04 * 60 + 3  # which a busy machine may take to end a process
    assert not record['complete'] and record['left_out']


def a_compiler_that(does):
    """Give the benchmark a table whose compiler does this."""

    def prepare() -> None:
        from costs import numerics

        numerics.COMPILING = 0
        numerics.NUMERICS = {'float32': numerics.Numerics(), 'compiled': numerics.Numerics(compiler=does)}

    return prepare


def fails(module, inputs):
    raise ValueError('no such instruction')


def hangs(module, inputs):
    time.sleep(60)


@pytest.mark.parametrize(
    ('compiler', 'minutes', 'sentence'),
    [(fails, '5', 'no such instruction'), (hangs, '0.05', 'tiny, compiled: given up at the end of the time.')],
)
def test_a_compiler_that_fails_or_hangs_is_a_sentence_in_the_record(compiler, minutes, sentence, tmp_path):
    options = ['--methods', 'SAM', '--numerics', 'compiled', '--also', '--minutes', minutes]
    record = run('step_cost.py', tmp_path / 'record.json', *SMALL, *options, prepare=a_compiler_that(compiler))
    assert not record['complete'] and sentence in record['left_out'][0]
