"""Find the lemma of an inflected English word, and inflect another lemma alike."""

import re

from samat_mm.words.substitutions.wordnet_files import Lexicon

# How a form ends, what the lemma has in its place, and the inflection: the rules of detachment of WordNet, morphy(7WN).
DETACHMENT = {
    'noun': (
        ('s', '', 's'), ('ses', 's', 's'), ('xes', 'x', 's'), ('zes', 'z', 's'), ('ches', 'ch', 's'),
        ('shes', 'sh', 's'), ('men', 'man', 's'), ('ies', 'y', 's'),
    ),
    'verb': (
        ('s', '', 's'), ('ies', 'y', 's'), ('es', 'e', 's'), ('es', '', 's'), ('ed', 'e', 'ed'), ('ed', '', 'ed'),
        ('ing', 'e', 'ing'), ('ing', '', 'ing'),
    ),
    'adjective': (('er', '', 'er'), ('est', '', 'est'), ('er', 'e', 'er'), ('est', 'e', 'est')),
    'adverb': (),
}  # fmt: skip
BASE = ''  # the inflection of a lemma itself
HISSING = re.compile('(s|x|z|ch|sh)$')
SHORT = re.compile('[^aeiouy]*[aeiouy]+[^aeiouy]*(e|[^aeiou]y)?$')  # one vowel sound, and perhaps an e or y at the end


def readings(word: str, lexicon: Lexicon) -> list[tuple[str, str]]:
    """Return the lemmas of which a word is a form, each with the inflection: '', 's', 'ed', 'ing', 'er' or 'est'.

    'ed' is the past tense or the past participle. A word that is a lemma itself comes first.
    """
    found = [(word, BASE)]
    found += [(lemma, _irregular(word, lexicon.part_of_speech)) for lemma in lexicon.lemmas_of.get(word, ())]
    if len(found) == 1:
        for ending, lemma_ending, inflection in DETACHMENT[lexicon.part_of_speech]:
            if word.endswith(ending) and len(word) > len(ending):
                found.append((word.removesuffix(ending) + lemma_ending, inflection))
    return [(lemma, inflection) for lemma, inflection in dict.fromkeys(found) if lemma in lexicon]


def _irregular(form: str, part_of_speech: str) -> str:
    """Return the inflection of an irregular form: its ending, where that says it."""
    if part_of_speech == 'noun':
        return 's'
    if part_of_speech == 'verb':
        return next((ending for ending in ('ing', 's') if form.endswith(ending)), 'ed')
    return 'est' if form.endswith('st') else 'er'


def inflected(lemma: str, inflection: str, lexicon: Lexicon) -> str | None:
    """Return the form of a lemma; None where it has no such form, or its spelling or the choice of one of two is open.

    Two are the past tense and the participle of a verb ('went', 'gone'). Only short adjectives have comparatives.
    """
    if inflection == BASE:
        return lemma
    part_of_speech = lexicon.part_of_speech
    irregular = [
        form for form in lexicon.irregular_forms.get(lemma, ()) if _irregular(form, part_of_speech) == inflection
    ]
    if irregular:
        regular = [form for form in irregular if form.endswith(inflection)]
        return (regular or irregular)[0] if regular or len(irregular) == 1 or part_of_speech != 'verb' else None
    return _regular(lemma, inflection, part_of_speech)


def _regular(lemma: str, inflection: str, part_of_speech: str) -> str | None:
    """Return the regular form of a lemma; those that double their last letter are on WordNet's lists of exceptions."""
    consonant_y = re.search('[^aeiou]y$', lemma) is not None
    if inflection == 's':
        if part_of_speech == 'noun' and lemma.endswith('man'):  # firemen, but humans
            return f'{lemma[:-2]}en' if lemma.endswith('woman') else None
        if consonant_y:
            return f'{lemma[:-1]}ies'
        hisses = HISSING.search(lemma) or (part_of_speech == 'verb' and re.search('[^aeiou]o$', lemma))
        return f'{lemma}es' if hisses else f'{lemma}s'
    if inflection == 'ing':
        if lemma.endswith('ie'):
            return f'{lemma[:-2]}ying'
        return f'{lemma[:-1]}ing' if re.search('[^eoy]e$', lemma) else f'{lemma}ing'
    if inflection in ('er', 'est') and not SHORT.match(lemma):
        return None
    if consonant_y:
        return f'{lemma[:-1]}i{inflection}'
    return f'{lemma}{inflection[1:]}' if lemma.endswith('e') else f'{lemma}{inflection}'
