"""From a sentence to tokens and a data sample."""

import pytest
from mmengine.registry import TRANSFORMS
from small_text import BAD, GOOD, write_reviews

from samat_mm.datasets import RottenTomatoes
from samat_mm.text import PackText, Tokenize, train_tokenizer


@pytest.fixture(scope='module')
def tokenizer():
    return train_tokenizer(GOOD + BAD, 80)


def pipeline_of(tokenizer, **options):
    return [dict(type='Tokenize', tokenizer=tokenizer, **options), dict(type='PackText')]


def test_the_data_set_gives_tokens_and_a_sample(tokenizer, tmp_path):
    root = str(write_reviews(tmp_path))
    data = RottenTomatoes(root, 'val', sentences=None, pipeline=pipeline_of(tokenizer))
    entry = data[1]
    assert entry['inputs'].tolist() == tokenizer.encode(BAD[3]).ids
    sample = entry['data_samples']
    assert (sample.gt_label.tolist(), sample.text, sample.sample_idx) == ([0], BAD[3], 1)


def test_the_pipeline_takes_a_changed_sentence_alone(tokenizer, tmp_path):
    """As a test under attack asks for it; the given dict is left as it is."""
    data = RottenTomatoes(str(write_reviews(tmp_path)), sentences=None, pipeline=pipeline_of(tokenizer))
    given = dict(text='a cold film', gt_label=1)
    entry = data.pipeline(given)
    assert entry['inputs'].tolist() == tokenizer.encode('a cold film').ids
    assert entry['data_samples'].gt_label.tolist() == [1] and 'sample_idx' not in entry['data_samples']
    assert given == dict(text='a cold film', gt_label=1)
    assert 'gt_label' not in data.pipeline(dict(text='a cold film'))['data_samples']


def test_a_long_sentence_is_cut_and_keeps_its_end_token(tokenizer):
    whole = tokenizer.encode(GOOD[0]).ids
    tokens = Tokenize(tokenizer, max_length=4)(dict(text=GOOD[0]))['tokens']
    assert tokens == [*whole[:3], whole[-1]]
    assert Tokenize(tokenizer, max_length=len(whole))(dict(text=GOOD[0]))['tokens'] == whole
    with pytest.raises(ValueError, match=r'max_length must be at least 3; got 2'):
        Tokenize(tokenizer, max_length=2)


@pytest.mark.parametrize('text', ['', '  ', '\x00'])
def test_an_empty_sentence_is_refused(tokenizer, text):
    with pytest.raises(ValueError, match=r'a sentence has no token: .*leave it out'):
        Tokenize(tokenizer)(dict(text=text))


@pytest.mark.parametrize('given', [{}, dict(text=b'bytes'), dict(text=None)])
def test_something_else_than_a_sentence_is_refused(tokenizer, given):
    with pytest.raises(TypeError, match=r"Tokenize expects a sentence, dict\(text='...'\)"):
        TRANSFORMS.build(dict(type='Tokenize', tokenizer=tokenizer))(given)


@pytest.mark.parametrize('given', ['128', 128.0, None, [128]])
def test_a_length_that_is_no_whole_number_is_refused(tokenizer, given):
    with pytest.raises(ValueError, match=r'max_length must be a whole number of at least 1; got'):
        Tokenize(tokenizer, max_length=given)


@pytest.mark.parametrize('given', [None, 'distilbert', len, dict(type='PackText')])
def test_something_else_than_a_tokenizer_is_refused(given):
    if isinstance(given, dict):
        given = TRANSFORMS.build(given)
    with pytest.raises(TypeError, match=r'Tokenize needs a tokenizer .*or a config of one, .*; got'):
        Tokenize(given)


def test_packing_needs_tokens():
    with pytest.raises(TypeError, match=r'put Tokenize before it\. It got text, gt_label\.'):
        PackText()(dict(text='a', gt_label=1))
