"""Find the lemma of an inflected English word, and inflect another lemma alike."""

from samat_mm.words.substitutions.spelling import compared, conjugated, plural, split_prefix
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
    """Return the form of a lemma; None where it has no such form, or where neither the lists nor a rule decide it.

    WordNet's lists of exceptions come first, then the regular spelling (:mod:`samat_mm.words.substitutions.spelling`).
    Open is the past of a verb whose past tense and participle differ ('went', 'gone') or which doubles its last letter
    in 'ing' only ('cut'), and the plural of a noun that is the plural of another ('data').
    """
    if inflection == BASE:
        return lemma
    part_of_speech = lexicon.part_of_speech
    forms = {form: _irregular(form, part_of_speech) for form in lexicon.irregular_forms.get(lemma, ())}
    irregular = [form for form, found in forms.items() if found == inflection]
    if irregular:
        regular = [form for form in irregular if form.endswith(inflection)]
        return (regular or irregular)[0] if regular or len(irregular) == 1 or part_of_speech != 'verb' else None
    if part_of_speech == 'noun':
        return None if lemma in lexicon.lemmas_of else plural(lemma)
    if part_of_speech == 'verb':
        prefix, base = split_prefix(lemma)
        if base and not forms and base in lexicon:  # resell, sold: resold
            form = inflected(base, inflection, lexicon)
            return None if form is None else prefix + form
        return None if inflection == 'ed' and 'ing' in forms.values() else conjugated(lemma, inflection)
    return compared(lemma, inflection)
