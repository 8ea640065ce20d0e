"""tools/test.py as its users meet it: a report, or one sentence."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest
import torch
from helpers import CLASSES, ROOT, classifier, segmentor, segmentor_config

from samat_mm.compat import TRUST_VARIABLE
from samat_mm.presets import presets

CONFIG = """
custom_imports = dict(imports=['samat_mm', 'helpers'], allow_failed_imports=False)
default_scope = 'mmseg'
model = {model}
test_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='RegisteredImages', count=5, test_mode=True),
)
test_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_cfg = dict(type='TestLoop')
log_level = 'ERROR'
work_dir = {work_dir!r}
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A config, its checkpoint, one of another architecture and a hostile one."""
    path = tmp_path_factory.mktemp('command_line')
    model = segmentor_config().to_dict()
    (path / 'config.py').write_text(CONFIG.format(model=model, work_dir=str(path / 'work')))
    torch.save({'state_dict': segmentor().state_dict()}, path / 'right.pth')
    torch.save({'state_dict': classifier().state_dict()}, path / 'other.pth')
    torch.save({'state_dict': {}, 'meta': Hostile(path / 'created')}, path / 'hostile.pth')
    (path / 'text.pth').write_text('no checkpoint')
    return path


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f'touch {self.path}',)


@pytest.fixture
def tool(monkeypatch, capfd):
    """Run ``main()`` of a tool in this process; returns its status, output and errors."""
    monkeypatch.delenv(TRUST_VARIABLE, raising=False)
    monkeypatch.delenv('SAMAT_MM_DEBUG', raising=False)

    def run(name, *arguments):
        spec = importlib.util.spec_from_file_location(f'tool_{name}', ROOT / 'tools' / f'{name}.py')
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(sys, 'argv', [f'tools/{name}.py', *map(str, arguments)])
        capfd.readouterr()
        try:
            module.main()
            status = 0
        except SystemExit as end:
            status = end.code
        captured = capfd.readouterr()
        return status, captured.out, captured.err

    return run


def test_the_list_of_attacks_in_a_process_of_its_own():
    command = [sys.executable, str(ROOT / 'tools' / 'test.py'), '--attack', 'list']
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env={**os.environ, 'COLUMNS': '300'}
    )
    assert done.returncode == 0, done.stderr
    for name, preset in presets().items():
        assert name in done.stdout
        assert preset['source'] in done.stdout
    assert 'Traceback' not in done.stderr


def test_a_test_writes_its_report_and_prints_its_table(tool, folder, tmp_path):
    out = tmp_path / 'new' / 'report.json'
    status, text, _ = tool(
        'test', folder / 'config.py', folder / 'right.pth', '--attack', 'pgd-linf', 'pgd-l2', '--eps', '8/255',
        '--steps', 2, '--seed', 5, '--max-samples', 3, '--out', out, '--show-dir', tmp_path / 'shown',
    )  # fmt: skip
    assert status == 0
    report = json.loads(out.read_text())
    assert report['config'] == str(folder / 'config.py')
    assert report['checkpoint'] == str(folder / 'right.pth')
    assert report['seed'] == 5
    assert report['samples'] == 3
    assert list(report['results']) == ['clean', 'pgd-linf', 'pgd-l2']
    assert {'mIoU', 'aAcc'} <= set(report['results']['clean'])
    attack = report['results']['pgd-linf']['attack']
    assert (attack['eps'], attack['steps'], attack['step_size'], attack['seed']) == (8 / 255, 2, 2 / 255, 5)
    assert report['results']['pgd-linf']['mIoU'] < report['results']['clean']['mIoU']
    assert all(name in text for name in ('clean', 'pgd-linf', 'pgd-l2', 'mIoU', '8/255'))
    assert len(list((tmp_path / 'shown').rglob('*.png'))) == 6


def test_a_clean_test_of_the_whole_data_set(tool, folder, tmp_path):
    status, _, _ = tool(
        'test', folder / 'config.py', folder / 'right.pth', '--out', tmp_path / 'report.json', '--max-samples', 100
    )
    assert status == 0
    report = json.loads((tmp_path / 'report.json').read_text())
    assert report['samples'] == 5
    assert list(report['results']) == ['clean']


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['--attack', 'pgd-l7'], "attack 'pgd-l7' is unknown; the known ones are"),
        (['--attack', 'pgd-linf', '--eps', '8'], "Did you mean '8/255'?"),
        (['--attack', 'pgd-linf', '--eps', 'abc'], "got 'abc'"),
        (['--attack', 'pgd-linf', '--eps=-1/255'], 'at least 0'),
        (['--attack', 'pgd-linf', '--eps', '1e400'], 'eps must be'),
        (['--attack', 'pgd-linf', '--steps', '0'], 'steps must be a whole number of at least 1; got 0'),
        (['--attack', 'pgd-linf', '--step-size', '0'], 'step_size must be greater than 0'),
        (['--attack', 'pgd-linf', '--restarts', '0'], 'restarts must be a whole number of at least 1'),
        (['--attack', 'pgd-linf', 'pgd-linf'], 'given twice'),
        (['--attack', 'list', 'pgd-linf'], "attack 'list' is unknown"),
        (['--max-samples', '0'], '--max-samples must be at least 1; got 0'),
        (['--cfg-options', 'model.backbone.depth=19'], '19'),
        ({'config': 'nothing.py'}, 'nothing.py is not a file'),
        ({'checkpoint': 'nothing.pth'}, 'nothing.pth is not a file'),
        ({'checkpoint': 'hostile.pth'}, 'SAMAT_MM_TRUST_CHECKPOINTS=1'),
        ({'checkpoint': 'other.pth'}, 'of another architecture than the EncoderDecoder'),
        ({'checkpoint': 'text.pth'}, 'text.pth is damaged or no checkpoint'),
    ],
    ids=str,
)
def test_a_mistake_is_one_sentence_and_a_status(arguments, sentence, tool, folder):
    files = {'config': 'config.py', 'checkpoint': 'right.pth', **(arguments if isinstance(arguments, dict) else {})}
    options = arguments if isinstance(arguments, list) else []
    status, _, errors = tool('test', folder / files['config'], folder / files['checkpoint'], *options)
    assert status == 1
    (line,) = (line for line in errors.splitlines() if line.startswith('error: '))
    assert sentence in line
    assert 'Traceback' not in errors
    assert not (folder / 'created').exists()


@pytest.mark.parametrize('arguments', [[], ['config.py']])
def test_both_files_are_needed(arguments, tool):
    status, _, errors = tool('test', *arguments)
    assert status == 1
    assert errors.strip().endswith('error: CONFIG and CHECKPOINT are needed, in this order and before --attack.')


def test_the_trace_is_there_for_who_asks_for_it(tool, folder, monkeypatch):
    monkeypatch.setenv('SAMAT_MM_DEBUG', '1')
    status, _, errors = tool('test', folder / 'config.py', folder / 'nothing.pth')
    assert status == 1
    assert 'Traceback' in errors
    assert 'error: ' in errors


def test_training_refuses_mistakes_in_a_sentence_too(tool, tmp_path):
    status, _, errors = tool('train', tmp_path / 'nothing.py')
    assert status == 1
    assert 'nothing.py is not a file' in errors
    assert 'Traceback' not in errors


def test_the_checkpoints_of_these_tests_have_the_configs_classes(folder):
    assert torch.load(folder / 'right.pth')['state_dict']['decode_head.conv_seg.bias'].shape == (CLASSES,)
