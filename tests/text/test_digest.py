"""The digest of a text data set: it changes with whatever the numbers of a test depend on, and with nothing else."""

import pytest
from small_text import BAD, GOOD, write_reviews

from samat_mm.datasets import RottenTomatoes
from samat_mm.text import digest_of, train_tokenizer

NUMBERS = [0, 1, 3]


def data(root, tokenizer=None, **options):
    tokenizer = tokenizer or train_tokenizer(GOOD + BAD, 80)
    pipeline = [dict(type='Tokenize', tokenizer=tokenizer, **options), dict(type='PackText')]
    return RottenTomatoes(str(root), 'val', sentences=None, pipeline=pipeline)


@pytest.fixture
def root(tmp_path):
    return write_reviews(tmp_path / 'rt', copies=4)


def replace(root, name, old, new):
    path = root / f'rt-polarity.{name}'
    lines = path.read_text(encoding='cp1252').split('\n')
    assert lines[16] == old
    lines[16] = new
    path.write_text('\n'.join(lines), encoding='cp1252')


def test_the_same_data_have_the_same_digest(root, tmp_path):
    first = digest_of(data(root), NUMBERS)
    assert len(first) == 16 and first == digest_of(data(write_reviews(tmp_path / 'moved', copies=4)), NUMBERS)


def test_a_changed_sentence_changes_it_even_if_its_tokens_stay(root):
    before, others = digest_of(data(root), NUMBERS), digest_of(data(root), [1, 3])
    replace(root, 'pos', GOOD[1], GOOD[1].upper())  # the tokenizer lower-cases
    assert data(root)[0]['inputs'].tolist() == train_tokenizer(GOOD + BAD, 80).encode(GOOD[1]).ids
    assert digest_of(data(root), NUMBERS) != before and digest_of(data(root), [1, 3]) == others


def test_labels_tokens_order_and_choice_change_it(root, monkeypatch):
    found = [digest_of(data(root), numbers) for numbers in (NUMBERS, [0, 1], [1, 0], [0])]
    found.append(digest_of(data(root, max_length=4), NUMBERS))
    monkeypatch.setitem(RottenTomatoes.METAINFO, 'classes', ('positive', 'negative'))
    found.append(digest_of(data(root), NUMBERS))
    assert len(set(found)) == len(found)


def test_a_vocabulary_that_differs_elsewhere_changes_it(root):
    """Attacks use pieces that no sentence of the test has."""
    tokenizer = train_tokenizer(GOOD + BAD, 80)
    vocabulary = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    other = type(tokenizer).from_str(tokenizer.to_str().replace('"throughout"', '"out"').replace('"th"', '"thr"'))
    more = train_tokenizer([*GOOD, *BAD, 'zzz zzz zzz'], len(vocabulary) + 3)
    for changed in (other, more):
        assert changed.get_vocab() != tokenizer.get_vocab()
        assert digest_of(data(root, changed), NUMBERS) != digest_of(data(root, tokenizer), NUMBERS)


def test_a_sentence_without_tokens_and_a_pipeline_without_packing_are_refused(root):
    bare = RottenTomatoes(str(root), 'val', sentences=None)
    with pytest.raises(TypeError, match=r'tokens and a data sample, as PackText makes them; got dict'):
        digest_of(bare, NUMBERS)
    replace(root, 'neg', BAD[1], '\x00')
    with pytest.raises(OSError, match=r'2 of the test set: a sentence has no token'):
        digest_of(data(root), [2])
