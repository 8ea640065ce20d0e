"""tools/test.py as its users meet it: a report, or one sentence."""

import contextlib
import json
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from helpers import CLASSES, ROOT, classifier, segmentor, segmentor_config
from PIL import Image

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
        (['--attack', 'pgd-linf', 'pso'], 'attack pso replaces words (PSO), and here gradients move inputs'),
        (['--attack', 'iga', '--eps', '1/255'], 'none of the attacks (iga) takes eps'),
        (['--max-samples', '0'], '--max-samples must be at least 1; got 0'),
        (['--cfg-options', 'model.backbone.depth=19'], '19'),
        ({'config': 'nothing.py'}, 'nothing.py is not a file'),
        ({'checkpoint': 'nothing.pth'}, 'nothing.pth is not a file'),
        ({'checkpoint': 'hostile.pth'}, 'SAMAT_MM_TRUST_CHECKPOINTS=1'),
        ({'checkpoint': 'other.pth'}, 'of another architecture than the EncoderDecoder'),
        ({'checkpoint': 'text.pth'}, 'text.pth is damaged or not a checkpoint'),
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


# ------------------------------------------------------------------------------------------ several attacks and radii


def evaluated(tool, folder, tmp_path, *arguments, config='config.py'):
    """The report of a test whose results are below ``tmp_path``, and its output."""
    out = tmp_path / 'report.json'
    files = (folder / config, folder / 'right.pth')
    status, text, errors = tool('test', *files, '--work-dir', tmp_path / 'work', '--out', out, *arguments)
    assert status == 0, errors
    return json.loads(out.read_text()), text


def refused(tool, folder, tmp_path, *arguments, config='config.py'):
    """The sentence by which a test is refused."""
    files = (folder / config, folder / 'right.pth')
    status, _, errors = tool('test', *files, '--work-dir', tmp_path / 'work', *arguments)
    assert status == 1
    assert 'Traceback' not in errors
    (line,) = (line for line in errors.splitlines() if line.startswith('error: '))
    return line


def test_several_radii_give_a_curve(tool, folder, tmp_path):
    report, text = evaluated(
        tool, folder, tmp_path, '--attack', 'pgd-linf', 'segpgd-linf', '--eps', '0.5/255', '4/255', '16/255',
        '--steps', 2, '--max-samples', 2,
    )  # fmt: skip
    names = [f'{attack}@{eps}' for attack in ('pgd-linf', 'segpgd-linf') for eps in ('0.5/255', '4/255', '16/255')]
    assert list(report['results']) == ['clean', *names]
    radii = [report['results'][name]['attack']['eps'] * 255 for name in names]
    assert radii == pytest.approx([0.5, 4, 16] * 2)
    accuracies = [report['results'][name]['aAcc'] for name in names[:3]]
    assert accuracies == sorted(accuracies, reverse=True)
    assert accuracies[0] > accuracies[2]
    assert 'pgd-linf@0.5/255' in text


def test_radii_that_do_not_rise_are_refused(tool, folder, tmp_path):
    line = refused(tool, folder, tmp_path, '--attack', 'pgd-linf', '--eps', '4/255', '1/255', '2/255')
    assert line.endswith('several radii must rise; got 1/255 after 4/255. Give them as 1/255 2/255 4/255.')


class Tags(HTMLParser):
    """Counts tags, and refuses one that is closed without having been opened."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen = [], Counter()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen[tag] += 1
        if tag not in ('meta', 'img', 'br', 'link', 'input', 'hr', 'path', 'use', 'wbr'):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.open:
            assert self.open.pop() == tag


def test_the_report_says_how_it_was_measured_and_the_page_shows_it(tool, folder, tmp_path):
    report, _ = evaluated(
        tool, folder, tmp_path, '--attack', 'pgd-linf', '--steps', 3, '--max-samples', 3, '--seed', 4,
        '--craft-dtype', 'float32', '--show-dir', tmp_path / 'shown',
    )  # fmt: skip
    measured = report['evaluation']
    assert (measured['mode'], measured['input_size'], measured['label_size']) == ('whole', '32x32', '32x32')
    assert (measured['processes'], measured['craft_dtype'], measured['device']) == (1, 'float32', 'cpu')
    assert measured['seconds'] >= 0
    assert measured['resumed'] is False
    assert measured['date'][:2] == '20'
    assert {'torch', 'samat-mm'} <= set(report['versions'])
    pgd = report['results']['pgd-linf']
    assert pgd['backwards'] == 3
    assert pgd['forwards'] >= 3
    assert pgd['seconds'] > 0
    assert report['per_class']['metric'] == 'IoU'
    assert len(report['per_class']['values']['pgd-linf']) == CLASSES
    page = Tags((tmp_path / 'report.html').read_text())
    assert page.open == []
    assert page.seen['table'] >= 1
    assert page.seen['img'] >= 3


def test_sanity_checks_are_printed_and_reported(tool, folder, tmp_path):
    report, text = evaluated(tool, folder, tmp_path, '--sanity', '--eps', '8/255', '--steps', 2, '--max-samples', 2)
    assert list(report['results']) == ['clean']
    assert [set(check) for check in report['sanity']] == [{'check', 'verdict', 'detail'}] * 7
    assert report['sanity'][0] | {'detail': ''} == {'check': 'eps = 0 equals clean', 'verdict': 'pass', 'detail': ''}
    assert report['sanity'][-1]['verdict'] == 'skipped'
    assert '127.5/255' in report['sanity'][2]['detail']
    assert 'sanity checks' in text
    assert 'eps = 0 equals clean' in text


def test_the_protocol_and_the_surrogate_are_printed_and_reported(tool, folder, tmp_path):
    other = (folder / 'config.py', folder / 'right.pth')
    report, text = evaluated(
        tool, folder, tmp_path, '--attack', 'pgd-linf', '--steps', 2, '--max-samples', 2, '--protocol', 'paper-compat',
        '--surrogate', *other,
    )  # fmt: skip
    assert report['evaluation']['protocol'] == 'paper-compat'
    made_on = report['evaluation']['made_on']
    assert (made_on['config'], made_on['checkpoint']) == (str(other[0]), str(other[1]))
    assert made_on['sha256'] == report['provenance']['checkpoint']['sha256']
    assert ', paper-compat, made on ' in ' '.join(text.split())
    page = (tmp_path / 'report.html').read_text().replace('<wbr>', '')
    assert 'paper-compat' in page and f'config {other[0]}, checkpoint {other[1]}' in page


def test_predictions_are_written_for_each_attack(tool, folder, tmp_path):
    report, _ = evaluated(
        tool, folder, tmp_path, '--attack', 'pgd-linf', '--eps', '32/255', '--steps', 2, '--max-samples', 3,
        '--predictions', tmp_path / 'predictions.pkl',
    )  # fmt: skip
    found = {
        name: [sample['pred_sem_seg']['data'] for sample in pickle.loads((tmp_path / file).read_bytes())]
        for name, file in (('clean', 'predictions.pkl'), ('pgd-linf', 'predictions-pgd-linf.pkl'))
    }
    assert {name: len(labels) for name, labels in found.items()} == {'clean': 3, 'pgd-linf': 3}
    assert report['results']['clean'] != report['results']['pgd-linf']
    assert any(not torch.equal(clean, attacked) for clean, attacked in zip(*found.values(), strict=True))


def test_exported_images_are_reported(tool, folder, tmp_path):
    report, _ = evaluated(
        tool, folder, tmp_path, '--attack', 'pgd-linf', '--eps', '8/255', '--steps', 2, '--max-samples', 2,
        '--export', tmp_path / 'files',
    )  # fmt: skip
    exported = report['results']['pgd-linf']['exported']
    assert exported['largest_change'] * 255 == pytest.approx(8, abs=1e-3)
    assert {'mIoU', 'aAcc'} <= set(exported)
    assert len(list((tmp_path / 'files').rglob('*.png'))) == 2


HOOKS = """
_base_ = {base!r}
mine = dict(type='PGD', norm='linf', eps='8/255', steps=2, seed=3, name='mine')
other = dict(type='FGSM', eps='8/255', name='other')
default_hooks = dict(attack_evaluation=dict(type='AttackEvaluationHook', attacks=[mine]), timer=None)
custom_hooks = [dict(type='mmengine.AttackEvaluationHook', attacks=[other, mine])]
"""


def test_a_config_with_attacks_of_its_own(tool, folder, tmp_path):
    """In either place, they are run once, by the loop, with their own seed; options change or replace them."""
    (folder / 'hook.py').write_text(HOOKS.format(base=str(folder / 'config.py')))
    report, _ = evaluated(tool, folder, tmp_path / 'a', '--max-samples', 2, config='hook.py')
    assert list(report['results']) == ['clean', 'mine', 'other']
    assert not any(key.startswith(('mine', 'other')) for key in report['results']['clean'])
    assert (report['results']['mine']['attack']['seed'], report['results']['mine']['attack']['steps']) == (3, 2)
    report, _ = evaluated(tool, folder, tmp_path / 'b', '--max-samples', 1, '--eps', '2/255', config='hook.py')
    assert report['results']['mine']['attack']['eps'] == 2 / 255
    report, _ = evaluated(
        tool, folder, tmp_path / 'c', '--max-samples', 1, '--attack', 'fgsm-linf', config='hook.py'
    )  # fmt: skip
    assert list(report['results']) == ['clean', 'fgsm-linf']


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['--eps', '1/255'], '--eps needs --attack NAME'),
        (['--show-dir', 'shown', '--craft-dtype', 'float32'], '--show-dir, --craft-dtype needs --attack NAME'),
        (['--sanity', '--export', 'files', '--eps', '1/255'], '--export needs --attack NAME'),
        (['--attack', 'pixle', '--sanity'], 'vary the radius and the steps'),
        (['--protocol', 'paper-compat'], '--protocol needs --attack NAME'),
        (['--surrogate', 'a.py', 'b.pth'], 'config a.py is not a file'),
        (['--attack', 'pgd-linf', '--surrogate', 'a.py', 'b.pth'], 'config a.py is not a file'),
        (['--attack', 'pgd-linf', '--sanity', '--protocol', 'paper-compat'], 'leave out --sanity'),
        (['--attack', 'pixle'], 'Pixle'),
        (['--resume'], 'there is no evaluation to resume in'),
    ],
    ids=str,
)
def test_options_that_do_not_fit(arguments, sentence, tool, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert sentence in refused(tool, folder, tmp_path, *arguments)


# ------------------------------------------------------------------------------------------ continuing


def rows(folder):
    """How often each image is in the ledgers below a folder, by attack; one that is only being made holds none."""
    found = {}
    for file in folder.rglob('scores-*.sqlite'):
        with contextlib.closing(sqlite3.connect(file)) as database, contextlib.suppress(sqlite3.OperationalError):
            for attack, image in database.execute('SELECT attack, image FROM scores'):
                found.setdefault(attack, Counter())[image] += 1
    return found


def test_resume_on_the_command_line(tool, folder, tmp_path):
    attack = ['--attack', 'pgd-linf', '--steps', 2]
    two, _ = evaluated(tool, folder, tmp_path, *attack, '--max-samples', 2)
    line = refused(tool, folder, tmp_path, *attack[:-1], 3, '--resume')
    assert 'cannot be resumed, because attacks.pgd-linf.steps was 2 and is 3 now' in line
    five, _ = evaluated(tool, folder, tmp_path, *attack, '--resume')
    assert (two['samples'], five['samples']) == (2, 5)
    assert five['evaluation']['resumed'] is True
    again, _ = evaluated(tool, folder, tmp_path, *attack, '--resume')
    assert again['results'] == five['results']
    assert rows(tmp_path) == {name: Counter(range(5)) for name in ('clean', 'pgd-linf')}


FILES = """
custom_imports = dict(imports=['samat_mm', 'helpers'], allow_failed_imports=False)
default_scope = 'mmseg'
model = {model}
test_dataloader = dict(
    batch_size=1,
    num_workers={workers},
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='BaseSegDataset',
        data_root={root!r},
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        metainfo=dict(classes=tuple('abcd'), palette=[[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]]),
        test_mode=True,
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')],
    ),
)
test_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_cfg = dict(type='TestLoop')
log_level = 'ERROR'
"""


@pytest.mark.parametrize('workers', [0, 2])
def test_a_corrupt_file_in_the_middle(workers, tool, folder, tmp_path):
    """The sentence names it; after the repair, earlier work is not repeated."""
    numbers = np.random.default_rng(0)
    for name in ('images', 'labels'):
        (tmp_path / name).mkdir()
    for index in range(4):
        Image.fromarray(numbers.integers(256, size=(32, 32, 3), dtype=np.uint8)).save(tmp_path / f'images/{index}.jpg')
        Image.fromarray(numbers.integers(4, size=(32, 32), dtype=np.uint8)).save(tmp_path / f'labels/{index}.png')
    config = f'files{workers}.py'
    model = segmentor_config().to_dict()
    (folder / config).write_text(FILES.format(model=model, workers=workers, root=str(tmp_path)))
    whole = (tmp_path / 'images/2.jpg').read_bytes()
    (tmp_path / 'images/2.jpg').write_bytes(b'no picture')
    arguments = ['--attack', 'pgd-linf', '--eps', '8/255', '--steps', 2]
    line = refused(tool, folder, tmp_path, *arguments, config=config)
    assert 'image 2 of the test set' in line
    assert 'images/2.jpg cannot be decoded' in line
    assert rows(tmp_path) == {name: Counter([0, 1]) for name in ('clean', 'pgd-linf')}
    seconds = times(tmp_path)
    (tmp_path / 'images/2.jpg').write_bytes(whole)
    report, _ = evaluated(tool, folder, tmp_path, *arguments, '--resume', config=config)
    assert report['samples'] == 4
    assert rows(tmp_path) == {name: Counter(range(4)) for name in ('clean', 'pgd-linf')}
    assert times(tmp_path).items() >= seconds.items()


def times(folder):
    """The scores as they are on disk, by file, attack and image: with the time that each took, to the bit."""
    found = {}
    for file in folder.rglob('scores-*.sqlite'):
        with contextlib.closing(sqlite3.connect(file)) as database:
            for attack, image, score in database.execute('SELECT attack, image, score FROM scores'):
                found[file.name, attack, image] = score
    return found


@pytest.mark.slow
@pytest.mark.parametrize('before', [1, 2], ids=['one process', 'two processes'])
def test_killed_in_the_middle_it_goes_on_in_another_batch_size_on_other_processes(before, tool, folder, tmp_path):
    """kill -9; the numbers are those of a test that was never stopped, and no image is attacked twice."""
    arguments = [
        '--attack', 'pgd-linf', 'pgd-l2', '--eps', '4/255', '--steps', '4',
        '--cfg-options', 'test_dataloader.dataset.count=40',
    ]  # fmt: skip
    whole, _ = evaluated(tool, folder, tmp_path / 'whole', *arguments, 'test_dataloader.batch_size=4')
    work = tmp_path / 'cut' / 'work'
    running = launched(before, folder, '--work-dir', work, *arguments, 'test_dataloader.batch_size=1')
    end = time.monotonic() + 240
    while sum(len(images) for images in rows(work).values()) < 20:
        assert running.poll() is None, (folder / f'said-by-{before}.txt').read_text()[-2000:]
        assert time.monotonic() < end
        time.sleep(0.01)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    kept = times(work)
    assert 20 <= len(kept) < 120
    after = 3 - before
    out = tmp_path / 'cut' / 'report.json'
    more = ['--work-dir', work, '--out', out, '--resume']
    done = launched(after, folder, *more, *arguments, 'test_dataloader.batch_size=3')
    assert done.wait(timeout=240) == 0, (folder / f'said-by-{after}.txt').read_text()[-2000:]
    report = json.loads(out.read_text())
    assert report['evaluation']['resumed'] is True
    assert report['evaluation']['processes'] == after
    assert report['samples'] == 40
    names = ('clean', 'pgd-linf', 'pgd-l2')
    for name in names:
        metrics = {key: whole['results'][name][key] for key in ('mIoU', 'aAcc', 'mAcc')}
        assert {key: report['results'][name][key] for key in metrics} == metrics, name
    assert rows(work) == {name: Counter(range(40)) for name in names}
    assert times(work).items() >= kept.items()


def launched(processes, folder, *arguments):
    """Start tools/test.py on ``processes`` processes, in a group that can be killed as one."""
    start = [sys.executable]
    if processes > 1:
        start += ['-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={processes}']
        arguments = (*arguments, '--launcher', 'pytorch')
    said = (folder / f'said-by-{processes}.txt').open('w')
    return subprocess.Popen(
        [*start, str(ROOT / 'tools' / 'test.py'), *map(str, (folder / 'config.py', folder / 'right.pth', *arguments))],
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': f'{ROOT}{os.pathsep}{ROOT}/tests'},
        stdout=said,
        stderr=said,
        start_new_session=True,
    )
