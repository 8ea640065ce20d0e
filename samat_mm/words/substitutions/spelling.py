"""Spell the regular forms of English words, where the rules leave no choice."""

import re

PARTICLE = 'on|by|in|up|of|to'
# Nouns whose plural a list has to name: plurals and others in one s ('means', 'crisis'), men, feet, knives, sheep.
OPEN_NOUN = re.compile(
    "(^|[^su])s$|[aeiou]z$|man$|ese$|(ife|[lr]f|[eo]af)$|-.*-|(er|or)-?(PARTICLE)$|[^a-z'-]"
    '|(child|foot|tooth|mouse|louse|goose|person|(^|-)ox|craft|sheep|deer|moose|swine|cattle|police|offspring|people'
    '|(^|[^a-z])pence)$'
    '|((^|[^aeiou])[aeouy]|[ginprx]ar)ch$'.replace('PARTICLE', PARTICLE)  # stomachs, epochs, monarchs
)
VOWEL = re.compile('[aeiouy]+')
PREFIXED = re.compile('(re|un|out|over|under|mis|fore|hand|house|sharp|trouble)-?(?=[a-z]{3})')
LAST_MAY_DOUBLE = re.compile('(qu|[^aeiouy]|^)[aeiouy][^aeiouwxy]$')  # one consonant after one vowel
NEVER_DOUBLES = re.compile('[^-]*([eao]r|[eo]n|et|[^m]it|[ea]l|om|us|lop)$')  # an unstressed syllable
UNCHANGED = re.compile('((c|^)ost|cast|burst|hurt|thrust|spread|(^|re|mis|proof|lip-?|sight-?)read)$')  # in the past
TAKES_OES = re.compile('(^|re-?|un|out|over|under|fore?|mis)([gd]o|echo)$|^(veto|embargo|torpedo)$')
TAKES_YING = re.compile('^(be|un|out|over|mis)?[^aeiou]ie$')
CONSONANT_Y = re.compile('([^aeiou]|qu)y$')
HISSING = re.compile('(s|x|z|ch|sh)$')
PARTICIPLE = re.compile('(ing|ed|[rw]n|ung|ent)$')  # and like words: grown, worn, stung, spent
SHORT = re.compile('[^aeiouy]*[aeiouy]+[^aeiouy]*(e|[^aeiou]y)?$')  # one vowel sound, and perhaps an e or y at the end


def plural(noun: str) -> str | None:
    """Return the regular plural of a noun; None where its ending does not decide it, as in 'means', 'wife', 'epoch'."""
    low = noun.lower()
    if low.endswith('woman'):
        return f'{noun[:-2]}en'
    if OPEN_NOUN.search(low):
        return None
    if CONSONANT_Y.search(low):
        return f'{noun[:-1]}ies' if noun == low else None  # berries, but the Kennedys
    return f'{noun}es' if HISSING.search(low) else f'{noun}s'


def conjugated(verb: str, inflection: str) -> str | None:
    """Return the regular form of a verb in 's', 'ed' or 'ing'; None where its spelling is open, as in 'blogged'."""
    if inflection == 's':
        if CONSONANT_Y.search(verb):
            return f'{verb[:-1]}ies'
        if re.search('[^aeiou]o$', verb):
            return f'{verb}es' if TAKES_OES.search(verb) else None
        if re.search('[sz]$', verb) and _may_double(verb):
            return None
        return f'{verb}es' if HISSING.search(verb) else f'{verb}s'
    if _may_double(verb) or verb.endswith('c'):
        return None
    if inflection == 'ing':
        if verb.endswith('ie'):
            return f'{verb[:-2]}ying' if TAKES_YING.search(verb) else None
        if re.match('[^aeiou]*inge$', verb):
            return None  # singeing, but cringing
        return f'{verb[:-1]}ing' if re.search('[^eoy]e$', verb) else f'{verb}ing'
    if UNCHANGED.search(verb):
        return None
    return _suffixed(verb, inflection)


def split_prefix(verb: str) -> tuple[str, str]:
    """Return the prefix and the rest of a verb such as 'resell'; the rest is empty where it has no such prefix."""
    found = PREFIXED.match(verb)
    return (verb[: found.end()], verb[found.end() :]) if found else (verb, '')


def compared(adjective: str, inflection: str) -> str | None:
    """Return the form of an adjective in 'er' or 'est'; None for a long one, a participle, or where it is open."""
    if PARTICIPLE.search(adjective) or not SHORT.match(adjective) or _may_double(adjective):
        return None
    return _suffixed(adjective, inflection)


def _may_double(word: str) -> bool:
    """Tell whether a word may double its last letter."""
    if not LAST_MAY_DOUBLE.search(word):
        return False
    return len(VOWEL.findall(word.replace('qu', 'q'))) < 2 or NEVER_DOUBLES.fullmatch(word) is None


def _suffixed(word: str, suffix: str) -> str:
    """Return a word with a suffix that begins with an e."""
    if CONSONANT_Y.search(word):
        return f'{word[:-1]}i{suffix}'
    return f'{word}{suffix[1:]}' if word.endswith('e') else f'{word}{suffix}'
