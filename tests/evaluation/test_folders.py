"""A folder for each evaluation: which one continues, and which one is left alone."""

import json
import random
import re
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from torch import nn

from samat_mm.evaluation import folders
from samat_mm.evaluation.fingerprint import differences, digest, fingerprint
from samat_mm.evaluation.folders import open_folder

PGD = {'type': 'PGD', 'eps': 0.1}


def document(attacks=None, **changes):
    return {'model': {'depth': 18}, 'weights': 'abc', 'attacks': attacks or {'pgd': PGD}, **changes}


def enter(parent, now=None, name='20260101', *, resume=False, finish=True):
    """The name of the folder of an evaluation, and whether it was begun before."""
    try:
        with open_folder(parent, now or document(), name, resume) as (folder, resumed):
            assert not (folder / 'finished').exists()
            if not finish:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert (folder / 'finished').exists() == finish
    return folder.name, resumed


def test_an_unfinished_evaluation_goes_on_and_a_finished_one_does_not(tmp_path):
    assert enter(tmp_path, name='1', finish=False) == ('1', False)
    assert enter(tmp_path, name='2', finish=False) == ('1', True)
    assert enter(tmp_path, name='3') == ('1', True)
    assert enter(tmp_path, name='4') == ('4', False)
    assert enter(tmp_path, name='5', resume=True) == ('4', True)


def test_two_that_begin_in_the_same_second_have_two_folders(tmp_path):
    assert [enter(tmp_path, name='1')[0] for _ in range(3)] == ['1', '1-2', '1-3']
    assert enter(tmp_path, name='2', resume=True) == ('1-3', True)


def test_two_at_once_do_not_share_a_folder(tmp_path):
    with open_folder(tmp_path, document(), '1', False) as (first, _):
        assert enter(tmp_path, name='2', finish=False) == ('2', False)
        assert enter(tmp_path, name='3', resume=True) == ('2', True)  # the other one is stopped and free
    with (
        open_folder(tmp_path / 'b', document(), '1', False) as (first, _),
        pytest.raises(ValueError, match=r'evaluation in .*1 is running; wait for it, or leave out --resume'),
    ):
        enter(tmp_path / 'b', name='2', resume=True)
    assert first.name == '1'


HOLDER = """
import sys
from pathlib import Path
from samat_mm.evaluation.folders import open_folder
with open_folder(Path(sys.argv[1]), {'attacks': {}}, '1', False):
    print('begun', flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
def test_the_claim_of_another_process_ends_with_it(tmp_path):
    command = [sys.executable, '-c', HOLDER, str(tmp_path)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while 'begun' not in holder.stdout.readline():
        assert holder.poll() is None
    with pytest.raises(ValueError, match='is running'):
        enter(tmp_path, {'attacks': {}}, '2', resume=True)
    assert enter(tmp_path, {'attacks': {}}, '2') == ('2', False)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert enter(tmp_path, {'attacks': {}}, '3') == ('1', True)


def test_attacks_that_only_one_has_do_not_matter_and_are_remembered(tmp_path):
    enter(tmp_path, name='1')
    assert enter(tmp_path, document({'l2': PGD}), resume=True) == ('1', True)
    kept = json.loads((tmp_path / '1' / 'fingerprint.json').read_text())
    assert set(kept['attacks']) == {'pgd', 'l2'}
    with pytest.raises(ValueError, match=r'because attacks\.pgd\.eps was 0\.1 and is 0\.2 now'):
        enter(tmp_path, document({'pgd': {**PGD, 'eps': 0.2}}), resume=True)


def test_a_changed_one_is_left_alone(tmp_path):
    enter(tmp_path, name='1', finish=False)
    before = (tmp_path / '1' / 'fingerprint.json').read_bytes()
    assert enter(tmp_path, document(weights='xyz'), name='2', finish=False) == ('2', False)
    assert (tmp_path / '1' / 'fingerprint.json').read_bytes() == before
    assert enter(tmp_path, name='3') == ('1', True)  # though another one was begun since
    with pytest.raises(ValueError, match=r"2 cannot be resumed, because weights was 'xyz' and is 'new' now"):
        enter(tmp_path, document(weights='new'), resume=True)


def test_a_folder_without_a_fingerprint_is_none(tmp_path):
    """It was killed before it had any result."""
    (tmp_path / '1').mkdir()
    with pytest.raises(ValueError, match=r'there is no evaluation to resume in'):
        enter(tmp_path, resume=True)
    assert enter(tmp_path, name='1') == ('1-2', False)


@pytest.fixture
def said(monkeypatch):
    """What is said about damage."""
    texts = []
    monkeypatch.setattr(folders, 'print_log', lambda text, *_: texts.append(text))
    return texts


def test_damage_to_a_fingerprint_never_mixes_evaluations(tmp_path, said):
    """The same evaluation continues, or a new one begins, or with --resume there is one sentence."""
    enter(tmp_path, document({'pgd': PGD, 'l2': PGD}), name='1', finish=False)
    file = tmp_path / '1' / 'fingerprint.json'
    before = file.read_bytes()
    for seed in range(200):
        source, changed = random.Random(seed), bytearray(before)
        if seed % 3 == 0:
            del changed[source.randrange(len(changed)) :]
        for _ in range(seed % 3):
            changed[source.randrange(len(changed))] = source.randrange(256)
        file.write_bytes(changed)
        said.clear()
        try:
            found, resumed = enter(tmp_path, document({'pgd': {**PGD, 'eps': 0.2}}), name='2', resume=seed % 2 == 0)
        except ValueError as error:
            assert re.search(r'1.fingerprint.json is damaged, so its|1 cannot be resumed, because', str(error))
        else:
            assert (found, resumed) == ('2', False)
            assert bytes(changed) == before or said == [f'{file} is damaged; its evaluation is left alone.']
            shutil.rmtree(tmp_path / '2')
        assert file.read_bytes() == bytes(changed)
    file.write_bytes(before)
    assert enter(tmp_path, document({'l2': PGD}), name='3') == ('1', True)


@pytest.mark.parametrize('content', [b'', b'\xff\x00', b'[]', b'{}', b'{"attacks": 3}', b'[' * 10**5])
def test_a_damaged_fingerprint_does_not_stop_the_others(content, tmp_path, said):
    enter(tmp_path, name='1')
    (tmp_path / '2').mkdir()
    (tmp_path / '2' / 'fingerprint.json').write_bytes(content)
    with pytest.raises(ValueError, match=r'2.fingerprint.json is damaged, so its evaluation cannot be resumed; remove'):
        enter(tmp_path, resume=True)
    assert enter(tmp_path, name='3') == ('3', False)
    assert enter(tmp_path, resume=True) == ('3', True)  # which is the latest
    assert len(said) == 2


def test_a_fingerprint_of_an_older_version_has_no_checksum(tmp_path):
    enter(tmp_path, name='1')
    file = tmp_path / '1' / 'fingerprint.json'
    kept = json.loads(file.read_text())
    del kept['checksum']
    file.write_text(json.dumps(kept))
    assert enter(tmp_path, resume=True) == ('1', True)


def test_a_damaged_lock_is_held_by_nobody(tmp_path):
    enter(tmp_path, name='1', finish=False)
    (tmp_path / '1' / 'running.sqlite').write_bytes(b'no database' * 1000)
    assert enter(tmp_path, name='2') == ('1', True)


def test_damaged_scores_are_set_aside_on_entering(tmp_path):
    enter(tmp_path, name='1', finish=False)
    (tmp_path / '1' / 'scores-0.sqlite').write_bytes(b'no database' * 1000)
    assert enter(tmp_path, name='2') == ('1', True)
    assert (tmp_path / '1' / 'scores-0.sqlite.damaged').exists()


def test_differences_are_named_by_their_path():
    old = document(model={'depth': 18, 'norm': 'BN'}, extra=[1, 2])
    new = document(model={'depth': 34, 'wide': True}, extra=[1, 3])
    assert differences(old, new) == [
        'model.depth was 18 and is 34 now',
        "model.norm was 'BN' and is None now",
        'model.wide was None and is True now',
        'extra was [1, 2] and is [1, 3] now',
    ]
    assert differences(old, dict(old)) == []


def test_a_fingerprint_holds_what_numbers_depend_on():
    model = nn.Linear(2, 2)
    config = {
        'model': {'type': 'A'},
        'data_preprocessor': {'mean': (0.5,)},
        'test_dataloader': {'batch_size': 7, 'num_workers': 3, 'dataset': {'type': 'B'}},
        'test_evaluator': {'type': 'C'},
        'work_dir': 'elsewhere',
    }
    found = fingerprint(config, model, {'fp16': False}, {'pgd': PGD})
    assert found['model'] == {'type': 'A'}
    assert found['dataset'] == {'type': 'B'}
    assert found['test_evaluator'] == {'type': 'C'}
    assert found['data_preprocessor'] == {'mean': [0.5]}
    assert found['weights'] == digest(model)
    assert 'torch' in found['versions']
    assert not {'batch_size', 'num_workers', 'work_dir'} & set(json.dumps(found).replace('"', ' ').split())
    assert fingerprint({}, model, {}, {})['dataset'] is None


def test_the_digest_changes_with_every_bit_and_statistic():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).bfloat16()
    seen = {digest(model)}
    assert {digest(model)} == seen
    for value in model.state_dict().values():
        value.add_(torch.ones_like(value))
        seen.add(digest(model))
    assert len(seen) == 1 + len(model.state_dict())
