"""Taggers: the part of speech of each word of a sentence.

A tagger is a function from a sentence to one part of speech per word ('noun', 'verb', 'adjective', 'adverb'), or None
where it is another one or unknown. Attacks work without any, and then consider every part of speech that a word can be.
"""

from collections.abc import Callable, Sequence

from samat_mm.errors import MissingPackageError
from samat_mm.words.sentence import Sentence

Tagger = Callable[[Sentence], Sequence[str | None]]

PENN_TREEBANK = {'NN': 'noun', 'VB': 'verb', 'JJ': 'adjective', 'RB': 'adverb'}  # the first two letters of its tags


def pattern_tags(sentence: Sentence) -> list[str | None]:
    """Tag by the lexicon and the rules of Pattern, which TextBlob brings along: nothing is downloaded.

    Source: Brill, A simple rule-based part of speech tagger, ANLP 1992; De Smedt and Daelemans, Pattern for Python,
    JMLR 2012.

    Raises:
        ImportError: if TextBlob is not installed.
    """
    try:
        from textblob.en import tag
    except ImportError as error:
        raise MissingPackageError("tagger='pattern' needs TextBlob; install it with: pip install textblob") from error
    tokens, positions = [], []
    for gap, word in zip(sentence.gaps, sentence.words, strict=False):
        tokens += gap.split()  # punctuation is part of the rules' context
        positions.append(len(tokens))
        tokens.append(word)
    tags = tag(' '.join(tokens), tokenize=False)
    return [PENN_TREEBANK.get(tags[position][1][:2]) for position in positions]


TAGGERS: dict[str, Tagger] = {'pattern': pattern_tags}
