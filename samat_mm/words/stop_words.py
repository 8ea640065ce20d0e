"""The words that an attack does not replace: English words of the closed classes, which carry the grammar."""

BY_CLASS = {
    'articles and determiners': (
        'a an the this that these those all any both each either every few many more most much neither no none other '
        'some several such own same another enough less least'
    ),
    'pronouns': (
        'i me my mine myself you your yours yourself yourselves he him his himself she her hers herself it its itself '
        'we us our ours ourselves they them their theirs themselves one oneself who whom whose which what whoever '
        'whatever whichever anyone anybody anything everyone everybody everything someone somebody something nobody '
        'nothing'
    ),
    'prepositions': (
        'about above across after against along amid among amongst around as at before behind below beneath beside '
        'besides between beyond by despite down during except for from in inside into like near of off on onto out '
        'outside over per since than through throughout till to toward towards under until up upon via with within '
        'without'
    ),
    'conjunctions': 'and but or nor so yet if because although though unless while whereas whether once lest',
    'auxiliary verbs': (
        'be am is are was were been being have has had having do does did doing can could may might must shall should '
        'will would ought cannot'
    ),
    'adverbs of place, time, degree and question': (
        'not here there where when why how now then too very just only even also again further ever never always '
        'almost rather quite else thus hence therefore however wherever whenever'
    ),
}
# Contractions: with "not", and of a pronoun or adverb with an auxiliary verb.
NEGATED = 'is are was were has have had do does did ca could might must sha should wo would need ai'
SHORTENED = {
    'i': 'm ve d ll',
    **dict.fromkeys(('you', 'we', 'they'), 're ve d ll'),
    **dict.fromkeys(('he', 'she', 'it', 'that', 'there', 'who', 'what', 'here', 'where', 'how'), 's d ll'),
}

STOP_WORDS = frozenset(
    [word for words in BY_CLASS.values() for word in words.split()]
    + [f"{verb}n't" for verb in NEGATED.split()]
    + [f"{word}'{verb}" for word, verbs in SHORTENED.items() for verb in verbs.split()]
)
