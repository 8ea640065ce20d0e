"""Checkpoints that would like to run code, that are damaged, and that are as they should be."""

import io
import pickle
import random
import zipfile

import numpy as np
import pytest
import torch
from helpers import ClassificationImages, classifier, runner, state_of
from hostile import NAMES, attempts, hidden
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader, load_checkpoint

from samat_mm import compat
from samat_mm.compat.checkpoints import peek_checkpoint_file

each_attempt = pytest.mark.parametrize('attempt', NAMES)


@pytest.fixture
def victim(tmp_path, monkeypatch):
    monkeypatch.delenv(compat.TRUST_VARIABLE, raising=False)
    return tmp_path / 'created'


def write(path, content, form='zip'):
    if form == 'pickle':
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == 'zip')
    return path


@each_attempt
@pytest.mark.parametrize('form', ['zip', 'legacy', 'pickle'])
def test_a_hostile_checkpoint_is_refused_and_told_how_to_be_trusted(attempt, form, victim, tmp_path):
    content = {'state_dict': {'weight': torch.ones(1)}, 'meta': hidden(attempts(victim)[attempt], seed=len(attempt))}
    if form == 'pickle':
        del content['state_dict']
    path = write(tmp_path / 'hostile.pth', content, form)
    for load in (compat.load_checkpoint_file, peek_checkpoint_file):
        with pytest.raises(ValueError, match=r'hostile.pth was refused.*SAMAT_MM_TRUST_CHECKPOINTS=1') as error:
            load(path)
        assert '\n' not in str(error.value)
    assert not victim.exists()


@pytest.mark.parametrize('way', ['CheckpointLoader', 'load_checkpoint', 'runner', 'resume'])
def test_mmengines_own_ways_to_load_refuse_it_too(way, victim, tmp_path):
    path = write(tmp_path / 'hostile.pth', {'state_dict': {}, 'meta': attempts(victim)['open']})
    model = classifier()
    with pytest.raises(ValueError, match=r'was refused.*SAMAT_MM_TRUST_CHECKPOINTS=1'):
        if way == 'CheckpointLoader':
            CheckpointLoader.load_checkpoint(str(path))
        elif way == 'load_checkpoint':
            load_checkpoint(model, str(path))
        else:
            run = runner(model, tmp_path / 'run', train=ClassificationImages(2))
            (run.load_checkpoint if way == 'runner' else run.resume)(str(path))
    assert not victim.exists()


@each_attempt
def test_a_trusted_checkpoint_is_loaded_whatever_it_holds(attempt, victim, tmp_path, monkeypatch):
    """So each of the attempts is a real one."""
    path = write(tmp_path / 'trusted.pth', {'meta': hidden(attempts(victim)[attempt], seed=len(attempt))})
    monkeypatch.setenv(compat.TRUST_VARIABLE, '1')
    compat.load_checkpoint_file(path)
    assert victim.exists()


@pytest.mark.parametrize('value', ['0', '', 'yes', 'true'])
def test_only_the_value_1_means_trust(value, victim, tmp_path, monkeypatch):
    path = write(tmp_path / 'hostile.pth', {'meta': attempts(victim)['open']})
    monkeypatch.setenv(compat.TRUST_VARIABLE, value)
    with pytest.raises(ValueError, match=r'was refused'):
        compat.load_checkpoint_file(path)
    assert not victim.exists()


# Damaged and honest ones


def test_a_missing_file_is_a_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nothing.pth is not a file'):
        compat.load_checkpoint_file(tmp_path / 'nothing.pth')
    with pytest.raises(FileNotFoundError, match=r'is not a file'):
        compat.load_checkpoint_file(tmp_path)  # a folder


@pytest.mark.parametrize(
    'content', [b'', b'just text\n', b'no checkpoint\n', b'\x80\x02.', b'PK\x03\x04broken', bytes(range(64))], ids=repr
)
def test_what_is_no_checkpoint_is_a_sentence(content, tmp_path):
    (tmp_path / 'file.pth').write_bytes(content)
    with pytest.raises(ValueError, match=r'file.pth is damaged or not a checkpoint') as error:
        compat.load_checkpoint_file(tmp_path / 'file.pth')
    assert '\n' not in str(error.value)
    assert 'weights_only' not in str(error.value)  # torch advises to let the file run code


@pytest.mark.parametrize('form', ['zip', 'legacy'])
@pytest.mark.parametrize('share', [0.1, 0.5, 0.95])
def test_a_truncated_checkpoint_is_a_sentence(form, share, tmp_path):
    path = write(tmp_path / 'file.pth', {'state_dict': {'weight': torch.randn(100, 100)}}, form)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r'file.pth is damaged or not a checkpoint'):
        compat.load_checkpoint_file(path)


@pytest.mark.parametrize('form', ['zip', 'legacy'])
def test_plain_contents_are_admitted(form, tmp_path):
    content = {
        'state_dict': {'weight': torch.randn(2, 3), 'count': torch.tensor(3)},
        'array': np.arange(6.0).reshape(2, 3),
        'integers': np.arange(3, dtype=np.int32),
        'scalar': np.float64(0.5),
        'meta': {'epoch': 3, 'seed': None, 'flags': [True, ('a', 1.5)]},
    }
    loaded = compat.load_checkpoint_file(write(tmp_path / 'file.pth', content, form))
    assert torch.equal(loaded['state_dict']['weight'], content['state_dict']['weight'])
    assert np.array_equal(loaded['array'], content['array'])
    assert np.array_equal(loaded['integers'], content['integers'])
    assert loaded['scalar'] == 0.5
    assert loaded['meta'] == content['meta']


def test_log_buffers_are_admitted_as_mmengine_stores_them(tmp_path):
    """They contain the names of their own methods."""
    buffer = HistoryBuffer([1.0, 2.0], [1, 1])
    buffer.update(6.0)
    loaded = compat.load_checkpoint_file(write(tmp_path / 'file.pth', {'message_hub': {'loss': buffer}}))
    assert loaded['message_hub']['loss'].mean() == 3
    assert loaded['message_hub']['loss'].statistics('max') == 6


def test_arrays_written_under_numpy_1_are_admitted(tmp_path):
    """As in the published checkpoints of mmsegmentation: numpy 2 has renamed the module that rebuilds them."""
    written = io.BytesIO()
    torch.save({'array': np.arange(3.0), 'scalar': np.float64(0.5)}, written)
    path = tmp_path / 'old.pth'
    with zipfile.ZipFile(written) as new, zipfile.ZipFile(path, 'w') as old:
        for name in new.namelist():
            old.writestr(name, new.read(name).replace(b'numpy._core.', b'numpy.core.'))
    loaded = compat.load_checkpoint_file(path)
    assert loaded['array'].tolist() == [0, 1, 2]
    assert loaded['scalar'] == 0.5


def test_what_a_run_saves_can_be_loaded_evaluated_and_resumed(tmp_path, monkeypatch):
    """With the weights, the optimizer, and the message hub with its log buffers."""
    monkeypatch.delenv(compat.TRUST_VARIABLE, raising=False)
    data = ClassificationImages(4)
    checkpoint = dict(type='CheckpointHook', by_epoch=False, interval=2)
    sgd = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9))

    def run(name, iterations, **more):
        made = runner(
            classifier(),
            tmp_path / name,
            train=data,
            evaluate=data,
            iterations=iterations,
            val_interval=1,
            checkpoint=checkpoint,
            optim_wrapper=dict(sgd),
            **more,
        )
        made.train()
        return made

    trained = run('first', 2)
    path = tmp_path / 'first' / 'iter_2.pth'
    loaded = compat.load_checkpoint_file(path)
    assert loaded['message_hub']['log_scalars'], 'the checkpoint should hold logs, or this test shows nothing'
    state = state_of(trained.model)
    assert all(torch.equal(loaded['state_dict'][key], value) for key, value in state.items())
    resumed = run('second', 4, resume=True, load_from=str(path))
    assert resumed.iter == 4


# Damage that torch does not see


def flipped(content, seed, bits=1):
    """Return a file's content with bits at random places changed."""
    source, changed = random.Random(seed), bytearray(content)
    for _ in range(bits):
        changed[source.randrange(len(changed))] ^= 1 << source.randrange(8)
    return bytes(changed)


def test_a_flipped_bit_is_seen_wherever_it_matters(tmp_path):
    """Weights, their names, and other numbers: refused with the file's name, or unchanged."""
    weights = {'state_dict': {'weight': torch.randn(40, 40), 'bias': torch.randn(40)}, 'meta': {'iter': 3}}
    content = write(tmp_path / 'file.pth', weights).read_bytes()
    refused = 0
    for seed in range(300):
        (tmp_path / 'file.pth').write_bytes(flipped(content, seed, bits=1 + seed % 3))
        try:
            loaded = compat.load_checkpoint_file(tmp_path / 'file.pth')
        except ValueError as error:
            assert 'file.pth is damaged' in str(error)
            assert '\n' not in str(error)
            refused += 1
        else:
            assert loaded['meta'] == {'iter': 3}
            assert loaded['state_dict'].keys() == weights['state_dict'].keys()
            assert all(torch.equal(loaded['state_dict'][key], value) for key, value in weights['state_dict'].items())
    assert 200 < refused < 300  # nothing hangs on the padding and the dates of the archive


@pytest.mark.parametrize('form', ['legacy', 'pickle'])
def test_what_has_no_checksums_never_ends_in_a_traceback(form, tmp_path):
    """The format before torch 1.6 cannot show whether a weight was changed."""
    content = {'list': [1, 2.5, 'text', (True, None)], 'dict': {'a': {'b': b'bytes'}}, 'set': {3, 4}}
    content = write(tmp_path / 'file.pth', content, form).read_bytes()
    refused = 0
    for seed in range(200):
        (tmp_path / 'file.pth').write_bytes(flipped(content, seed, bits=2))
        try:
            compat.load_checkpoint_file(tmp_path / 'file.pth')
        except ValueError as error:
            assert 'file.pth' in str(error)
            refused += 1
    assert refused > 50


def test_an_archive_that_was_written_without_checksums_is_loaded(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        path = write(tmp_path / 'file.pth', {'weight': torch.ones(3)})
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(compat.load_checkpoint_file(path)['weight'], torch.ones(3))
