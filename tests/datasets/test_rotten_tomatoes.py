from pathlib import Path

import pytest

from samat_mm.datasets import RottenTomatoes, StanfordBackgroundDataset, TinyImageNet, VOC2012Dataset
from samat_mm.datasets.rotten_tomatoes import read_sentences


def write(root, positive, negative):
    root.mkdir(exist_ok=True)
    for name, lines in (('pos', positive), ('neg', negative)):
        (root / f'rt-polarity.{name}').write_bytes(b'\n'.join(lines) + b'\n')
    return str(root)


@pytest.fixture
def root(tmp_path):
    return write(tmp_path / 'rt', [b'good %d ' % n for n in range(20)], [b' bad %d' % n for n in range(20)])


def texts(root, split, **options):
    data = RottenTomatoes(root, split, sentences=20, **options)
    return [(data[index]['text'], data[index]['gt_label']) for index in range(len(data))]


def test_each_file_is_cut_into_eight_tenths_one_and_one(root):
    assert texts(root, 'train') == [(f'good {n}', 1) for n in range(16)] + [(f'bad {n}', 0) for n in range(16)]
    assert texts(root, 'val') == [('good 16', 1), ('good 17', 1), ('bad 16', 0), ('bad 17', 0)]
    assert texts(root, 'test') == [('good 18', 1), ('good 19', 1), ('bad 18', 0), ('bad 19', 0)]
    assert texts(root, 'test', indices=1) == [('good 18', 1)]
    assert RottenTomatoes(root, sentences=None).metainfo['classes'] == ('negative', 'positive')


def test_only_line_feeds_end_a_sentence_and_bytes_are_of_the_code_page(tmp_path):
    path = tmp_path / 'sentences'
    path.write_bytes(b'\x85well \x97 na\xefve\x0cbut\r\nlast')
    assert read_sentences(path) == ['\u2026well \u2014 na\u00efve\x0cbut', 'last']


@pytest.mark.parametrize(
    ('lines', 'sentence'),
    [
        ([b'fine', b' \t', b'fine'], r'line 2 of \S*rt-polarity\.neg is empty'),
        ([b'fine', b'fine', b'a \x81'], r'line 3 of \S*rt-polarity\.neg is not text: byte 3 is 0x81, .*in cp1252'),
        ([b'fine'], r'rt-polarity\.neg has 1 lines, but must have 3'),
    ],
)
def test_a_wrong_line_is_named(lines, sentence, tmp_path):
    root = write(tmp_path / 'rt', [b'good'] * 3, lines)
    with pytest.raises(ValueError, match=sentence):
        RottenTomatoes(root, sentences=3)


def test_a_missing_file_and_an_unknown_split(root, tmp_path):
    with pytest.raises(ValueError, match=r"split must be one of train, val, test; got 'dev'"):
        RottenTomatoes(root, 'dev')
    (tmp_path / 'rt/rt-polarity.pos').unlink()
    with pytest.raises(FileNotFoundError, match=r'lacks rt-polarity\.pos; run `samat-mm prepare-data rotten-'):
        RottenTomatoes(root)
    with pytest.raises(FileNotFoundError, match=r'absent is missing'):
        read_sentences(tmp_path / 'absent')


def test_arguments_of_another_kind(root):
    for given in (['a'], None, {}):
        with pytest.raises(ValueError, match=r'split must be one of train, val, test; got'):
            RottenTomatoes(root, given)
    for given in ('5331', 0, True, 20.0):
        with pytest.raises(ValueError, match=r'sentences must be a whole number of at least 1; got'):
            RottenTomatoes(root, sentences=given)
    assert len(RottenTomatoes(Path(root), 'val', sentences=20)) == 4


@pytest.mark.parametrize('dataset', [RottenTomatoes, TinyImageNet, StanfordBackgroundDataset, VOC2012Dataset])
@pytest.mark.parametrize('given', [None, 3, ['data']])
def test_a_folder_that_is_no_path(dataset, given):
    with pytest.raises(ValueError, match=rf'^{dataset.__name__}: data_root must be the folder of the data; got'):
        dataset(data_root=given)


def test_the_real_data(real_data, tmp_path):
    root = str(real_data('rotten-tomatoes', 'rt_polarity.tar.gz', tmp_path))
    splits = {split: RottenTomatoes(root, split) for split in ('train', 'val', 'test')}
    assert {split: len(data) for split, data in splits.items()} == {'train': 8530, 'val': 1066, 'test': 1066}
    entries = {
        split: [(data[index]['text'], data[index]['gt_label']) for index in range(len(data))]
        for split, data in splits.items()
    }
    for found in entries.values():
        assert sum(label for _, label in found) == len(found) / 2
    assert len({text for found in entries.values() for text, _ in found}) == 2 * 5331
    assert entries['train'][0][0].startswith('the rock is destined to be')
    assert entries['train'][4265] == ('simplistic , silly and tedious .', 0)
    assert entries['test'][0][1] == 1 and entries['val'][-1][1] == 0
