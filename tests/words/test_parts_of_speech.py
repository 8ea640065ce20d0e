"""Taggers: one part of speech per word."""

import sys

import pytest
from word_tables import Linear, Table

from samat_mm.words.attacks import PSO
from samat_mm.words.parts_of_speech import pattern_tags
from samat_mm.words.sentence import Sentence
from samat_mm.words.substitutions import Substitutions


class Asked(Substitutions):
    """Notes what it is asked."""

    digest = ''

    def __init__(self):
        self.asked = set()

    def __call__(self, word, part_of_speech=None):
        self.asked.add((word, part_of_speech))
        return []


def three_tags(sentence):
    return ['noun', 'verb', None][: len(sentence.words)]


def one_tag(sentence):
    return ['noun']


def other_tags(sentence):
    return ['noun', 'NN']


def test_substitutions_are_asked_for_the_part_of_speech_of_the_place():
    source = Asked()
    attack = PSO(source, tagger=three_tags)
    attack(Linear({}, bias=1.0), Sentence.of('light , light Light'), 1)
    assert source.asked == {('light', 'noun'), ('light', 'verb'), ('light', None)}


def test_a_tagger_that_forgets_words_is_refused():
    attack = PSO(Table({}), tagger=one_tag)
    with pytest.raises(ValueError, match='a tagger must give one part of speech per word, 2; got 1'):
        attack(Linear({}, bias=1.0), Sentence.of('two words'), 1)


def test_a_tagger_with_names_of_its_own_is_refused():
    attack = PSO(Table({}), tagger=other_tags)
    with pytest.raises(ValueError, match="a tagger must give noun, verb, adjective, adverb or None; got 'NN'"):
        attack(Linear({}, bias=1.0), Sentence.of('two words'), 1)


def test_an_unknown_tagger_is_refused_and_a_missing_package_named(monkeypatch):
    with pytest.raises(ValueError, match="tagger must be one of pattern; got 'flair'"):
        PSO(Table({}), tagger='flair')
    monkeypatch.setitem(sys.modules, 'textblob', None)
    monkeypatch.setitem(sys.modules, 'textblob.en', None)
    attack = PSO(Table({}), tagger='pattern')  # making it asks for nothing
    with pytest.raises(ImportError, match='pip install textblob'):
        attack.prepare()


def test_patterns_tagger_sees_the_context():
    pytest.importorskip('textblob')
    text = 'the film is a strong , moving portrait that never drags .'
    tags = dict(zip(Sentence.of(text).words, pattern_tags(Sentence.of(text)), strict=True))
    assert tags['film'] == tags['portrait'] == 'noun'
    assert tags['strong'] == 'adjective'
    assert tags['drags'] == 'verb'
    assert tags['never'] == 'adverb'
    assert tags['the'] is None
    assert pattern_tags(Sentence.of('')) == []
