"""Pickles and YAML files that MMEngine reads: plain data."""

from collections import OrderedDict, defaultdict

import mmengine
import numpy as np
import pytest
import torch
from helpers import ROOT  # noqa: F401  (imports samat_mm)
from hostile import NAMES, attempts, hidden
from mmengine.dataset import BaseDataset

from samat_mm import compat


@pytest.fixture
def victim(tmp_path, monkeypatch):
    monkeypatch.delenv(compat.TRUST_VARIABLE, raising=False)
    return tmp_path / 'created'


@pytest.mark.parametrize('protocol', [0, 2, 4, 5])
def test_plain_data_is_read(protocol, tmp_path):
    data = {
        'tensor': torch.randn(2, 3),
        'parameter': torch.nn.Parameter(torch.ones(2)),
        'array': np.arange(6.0).reshape(2, 3),
        'names': np.array(['a', 'bc']),
        'number': np.float32(0.5),
        'containers': [OrderedDict(a=1), defaultdict(list, {1: [2]}), {1, 2}, frozenset((3,)), (b'x', None, 1j, True)],
    }
    mmengine.dump(data, tmp_path / 'a.pkl', protocol=protocol)
    read = mmengine.load(tmp_path / 'a.pkl')
    assert torch.equal(read['tensor'], data['tensor'])
    assert torch.equal(read['parameter'], data['parameter'])
    assert (read['array'] == data['array']).all()
    assert read['names'].tolist() == ['a', 'bc']
    assert read['number'] == 0.5
    assert read['containers'] == data['containers']


@pytest.mark.parametrize('attempt', NAMES)
def test_a_hostile_pickle_is_refused(attempt, victim, tmp_path, monkeypatch):
    mmengine.dump(hidden(attempts(victim)[attempt], seed=len(attempt)), tmp_path / 'a.pkl')
    with pytest.raises(ValueError, match=r'was refused: it holds .*SAMAT_MM_TRUST_CHECKPOINTS=1'):
        mmengine.load(tmp_path / 'a.pkl')
    assert not victim.exists()
    monkeypatch.setenv(compat.TRUST_VARIABLE, '1')
    mmengine.load(tmp_path / 'a.pkl')
    assert victim.exists()


def test_annotations_and_class_weights_are_pickles_too(victim, tmp_path):
    from mmseg.models.losses.utils import get_class_weight

    mmengine.dump({'metainfo': {}, 'data_list': [attempts(victim)['os.mkdir']]}, tmp_path / 'a.pkl')
    with pytest.raises(ValueError, match=r'was refused'):
        BaseDataset(ann_file=str(tmp_path / 'a.pkl'))
    with pytest.raises(ValueError, match=r'was refused'):
        get_class_weight(str(tmp_path / 'a.pkl'))
    assert not victim.exists()
    mmengine.dump([1.0, 2.0], tmp_path / 'b.pkl')
    assert get_class_weight(str(tmp_path / 'b.pkl')) == [1.0, 2.0]


TAGS = [
    '!!python/object/apply:os.system ["touch {}"]',
    'a: [1, !!python/object/apply:builtins.open ["{}", "w"]]',
    '!!python/object/new:subprocess.Popen [[touch, "{}"]]',
    "a: !!python/object/apply:builtins.eval [\"open('{}', 'w')\"]",
]


@pytest.mark.parametrize('text', TAGS)
@pytest.mark.parametrize('suffix', ['yaml', 'yml'])
def test_a_hostile_yaml_file_is_refused(text, suffix, victim, tmp_path):
    (tmp_path / f'a.{suffix}').write_text(text.format(victim))
    with pytest.raises(ValueError, match=r'a YAML file was refused: it holds .*python/object'):
        mmengine.load(tmp_path / f'a.{suffix}')
    assert not victim.exists()


def test_a_plain_yaml_file_is_read_as_it_was_written(tmp_path):
    data = {'a': [1, 2.5, None, True], 'b': {'c': 'text', 'd': (1, 2)}}
    mmengine.dump(data, tmp_path / 'a.yaml')
    assert mmengine.load(tmp_path / 'a.yaml') == data
