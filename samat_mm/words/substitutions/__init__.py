"""The words that may replace a word, from four sources."""

from samat_mm.words.substitutions.base import PARTS_OF_SPEECH, Substitution, Substitutions
from samat_mm.words.substitutions.counter_fitted import CounterFittedVectors
from samat_mm.words.substitutions.hownet import HowNet
from samat_mm.words.substitutions.mythes import MyThes
from samat_mm.words.substitutions.wordnet import WordNet

SUBSTITUTION_TYPES: tuple[type[Substitutions], ...] = (WordNet, HowNet, CounterFittedVectors, MyThes)

__all__ = [
    'PARTS_OF_SPEECH',
    'SUBSTITUTION_TYPES',
    'CounterFittedVectors',
    'HowNet',
    'MyThes',
    'Substitution',
    'Substitutions',
    'WordNet',
]
