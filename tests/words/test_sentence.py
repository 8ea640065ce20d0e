"""Sentences: which parts of a text are words, and what replacing them keeps."""

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samat_mm.words.sentence import Sentence, in_the_case_of


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('a moving , heartfelt film .', ('a', 'moving', 'heartfelt', 'film')),
        ("it's far-fetched -- isn't it ?", ("it's", 'far-fetched', "isn't", 'it')),
        ("'quoted' words'", ('quoted', 'words')),
        ('the 21st century , mp3 and 2 films', ('the', 'century', 'and', 'films')),
        ('café naïve', ('café', 'naïve')),
        ('snake_case', ()),
        ('(brackets)[and]"quotes"', ('brackets', 'and', 'quotes')),
        ('rock\u2019n\u2019roll', ('rock\u2019n\u2019roll',)),
        ('', ()),
        ('... 3 !', ()),
    ],
)
def test_the_words_of_a_text(text, words):
    sentence = Sentence.of(text)
    assert sentence.words == words
    assert sentence.text == text


@settings(deadline=None)
@given(st.text(alphabet="aZé'\u2019-_ .,\n\t0٣ßǅ中\u0301"))
def test_a_text_is_kept_whatever_it_holds(text):
    sentence = Sentence.of(text)
    assert sentence.text == text
    assert len(sentence.gaps) == len(sentence.words) + 1
    assert pickle.loads(pickle.dumps(sentence)) == sentence


@settings(deadline=None)
@given(st.text(alphabet="aB'-1 ,.", max_size=20), st.data())
def test_replacing_words_keeps_all_between_them(text, data):
    sentence = Sentence.of(text)
    indices = data.draw(st.sets(st.sampled_from(range(len(sentence.words))))) if sentence.words else set()
    replaced = sentence.replaced(dict.fromkeys(indices, 'zebra'))
    assert replaced.gaps == sentence.gaps
    assert replaced.changed(sentence) == tuple(sorted(indices))
    assert Sentence.of(replaced.text) == replaced  # the new text has the same words
    assert replaced.replaced({index: sentence.words[index] for index in indices}) == sentence


def test_what_is_no_text_or_no_word_is_refused():
    with pytest.raises(ValueError, match='a sentence must be a string; got 3'):
        Sentence.of(3)
    with pytest.raises(ValueError, match='a sentence of 2 words has no word 2; count from 0'):
        Sentence.of('two words').replaced({2: 'more'})
    with pytest.raises(ValueError, match='has no word -1'):
        Sentence.of('two words').replaced({-1: 'more'})


@pytest.mark.parametrize(
    ('word', 'model', 'expected'),
    [
        ('roman', 'good', 'roman'),
        ('Roman', 'good', 'roman'),
        ('fine', 'Good', 'Fine'),
        ('fine', 'GOOD', 'FINE'),
        ('one', 'I', 'One'),
        ('player', 'iPod', 'player'),
        ('well-made', 'Good', 'Well-made'),
    ],
)
def test_a_word_takes_the_case_of_another(word, model, expected):
    assert in_the_case_of(word, model) == expected
