"""The words that may replace a word, from four sources."""

from samat_mm.words.substitutions.base import PARTS_OF_SPEECH, Substitution, Substitutions

SUBSTITUTION_TYPES: tuple[type[Substitutions], ...] = ()

__all__ = ['PARTS_OF_SPEECH', 'SUBSTITUTION_TYPES', 'Substitution', 'Substitutions']
