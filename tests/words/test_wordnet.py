"""WordNet: its synonyms, inflected as the word was; on small made-up files, and on the real ones where they are."""

import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samat_mm.words.substitutions import PARTS_OF_SPEECH, WordNet
from samat_mm.words.substitutions.inflection import inflected

SUFFIXES = {'noun': 'noun', 'verb': 'verb', 'adjective': 'adj', 'adverb': 'adv'}
SYNONYMS = {
    'noun': [
        *(['film', 'movie', 'motion_picture'], ['film', 'coat'], ['story', 'tale'], ['woman', 'adult_female', 'human']),
        *(['child', 'kid'], ['leaf', 'foliage'], ['box', 'chest'], ['Roman', 'noble_roman'], ['gas', 'flatus']),
    ],
    'verb': [
        *(['film', 'shoot', 'take'], ['go', 'travel', 'move'], ['think', 'believe'], ['try', 'test'], ['run', 'lie']),
        *(['abet', 'back'], ['echo', 'recall']),
    ],
    'adjective': [['funny', 'comic(a)', 'amusing'], ['big', 'large(p)'], ['happy', 'glad(ip)', 'cheerful']],
    'adverb': [['well', 'good'], ['often', 'frequently']],
}
EXCEPTIONS = {
    'noun': 'children child\nleaves leaf\nkine cow\ngases gas\ndata datum\n',
    'verb': 'went go\ngone go\ntook take\ntaken take\nshot shoot\nthought think\nran run\nrun run\nrunning run\n'
    'abetted abet\nabetting abet\n',
    'adjective': 'bigger big\nbiggest big\ngladder glad\nhappier happy\nbest well good\n',
    'adverb': 'better well\n',
}


def write(folder, synonyms=SYNONYMS, exceptions=EXCEPTIONS):
    """Write the dictionary files of sets of synonyms."""
    folder.mkdir(exist_ok=True)
    for part, suffix in SUFFIXES.items():
        data, offsets = '  1 licence  \n', {}
        for words in synonyms[part]:
            for word in words:
                offsets.setdefault(word.partition('(')[0].lower(), []).append(len(data))
            entries = ' '.join(f'{word} 0' for word in words)
            data += f'{len(data):08d} 03 {suffix[0]} {len(words):02x} {entries} 000 | an explanation  \n'
        lines = [
            f'{word} {suffix[0]} {len(found)} 1 @ {len(found)} 0 {" ".join(f"{place:08d}" for place in found)}  \n'
            for word, found in sorted(offsets.items())
        ]
        (folder / f'index.{suffix}').write_text('  1 licence  \n' + ''.join(lines))
        (folder / f'data.{suffix}').write_text(data)
        (folder / f'{suffix}.exc').write_text(exceptions[part])
    return folder


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    return WordNet(str(write(tmp_path_factory.mktemp('wordnet'))))


def words(source, word, part_of_speech=None):
    found = source(word, part_of_speech)
    assert all(distance == 0 for _, distance in found)
    return [new for new, _ in found]


@pytest.mark.parametrize(
    ('word', 'part', 'expected'),
    [
        ('film', 'noun', ['movie', 'coat']),  # of both senses, in their order, without those of several words
        ('film', 'verb', ['shoot', 'take']),
        ('film', None, ['movie', 'coat', 'shoot', 'take']),
        ('films', 'noun', ['movies', 'coats']),
        ('films', 'verb', ['shoots', 'takes']),
        ('filmed', 'verb', ['shot']),  # took or taken?
        ('filming', 'verb', ['shooting', 'taking']),
        ('stories', 'noun', ['tales']),
        ('tales', 'noun', ['stories']),
        ('boxes', 'noun', ['chests']),
        ('chests', 'noun', ['boxes']),
        ('child', 'noun', ['kid']),
        ('children', 'noun', ['kids']),
        ('kids', 'noun', ['children']),
        ('women', 'noun', []),  # which of humans and humen is open
        ('humans', 'noun', ['women']),
        ('leaves', 'noun', ['foliages']),
        ('gas', 'noun', ['flatus']),  # not the plural of ga
        ('flatuses', 'noun', ['gases']),
        ('went', 'verb', ['traveled', 'moved']),
        ('moved', 'verb', ['traveled']),  # went or gone?
        ('moving', 'verb', ['going', 'traveling']),
        ('thought', 'verb', ['believed']),
        ('believed', 'verb', ['thought']),
        ('tries', 'verb', ['tests']),
        ('tested', 'verb', ['tried']),
        ('lying', 'verb', []),  # an exception that this WordNet lacks
        ('running', 'verb', ['lying']),
        ('lies', 'verb', ['runs']),
        ('backed', 'verb', ['abetted']),
        ('backing', 'verb', ['abetting']),
        ('recalls', 'verb', ['echoes']),
        ('recalling', 'verb', ['echoing']),
        ('funny', 'adjective', ['comic', 'amusing']),  # without the marker of its place
        ('funnier', 'adjective', []),  # neither comicer nor amusinger
        ('bigger', 'adjective', ['larger']),
        ('largest', 'adjective', ['biggest']),
        ('gladder', 'adjective', ['happier']),
        ('happier', 'adjective', ['gladder']),
        ('well', 'adverb', ['good']),
        ('often', 'noun', []),
        ('often', None, ['frequently']),
        ('unknown', None, []),
        ('s', None, []),
        ('', None, []),
        ("don't", None, []),
        ('naïve', None, []),
    ],
)
def test_synonyms_take_the_inflection_of_the_word(small, word, part, expected):
    assert words(small, word, part) == expected


@pytest.mark.parametrize(
    ('part', 'inflection', 'lemmas'),
    [
        ('noun', 's', 'means series species glasses scissors politics acres data crisis MS epoch stomach monarch tech'),
        ('noun', 's', 'eunuch housewife cloverleaf fireman whiz sheep aircraft Chinese grandchild passer-by Kennedy'),
        ('verb', 's', 'tango bus'),
        ('verb', 'ed', 'blog scam spam sled gut quit sync broadcast hurt reread resubmit unclip rerun'),
        ('verb', 'ing', 'blog stymie singe'),
        ('adjective', 'er', 'fun grown bored amusing'),
    ],
)
def test_a_form_that_no_list_or_rule_decides_is_none(small, part, inflection, lemmas):
    lexicon = small._lexicons[PARTS_OF_SPEECH.index(part)]
    assert {lemma: inflected(lemma, inflection, lexicon) for lemma in lemmas.split()} == dict.fromkeys(lemmas.split())


@pytest.mark.parametrize(
    ('part', 'inflection', 'forms'),
    [
        ('noun', 's', dict(bus='buses', glass='glasses', church='churches', march='marches', peach='peaches')),
        ('noun', 's', dict(berry='berries', soliloquy='soliloquies', key='keys', roof='roofs')),
        ('verb', 's', dict(carry='carries', watch='watches', forego='foregoes')),
        ('verb', 'ed', dict(visit='visited', develop='developed', open='opened', market='marketed', focus='focused')),
        ('verb', 'ed', dict(need='needed', play='played', fix='fixed', rethink='rethought', accept='accepted')),
        ('verb', 'ing', dict(run='running', rerun='rerunning', die='dying', dye='dyeing', love='loving')),
        ('adjective', 'er', dict(big='bigger', new='newer', able='abler', dry='drier')),
        ('adverb', 'er', dict(well='better')),
    ],
)
def test_the_forms_that_a_list_or_rule_decides(small, part, inflection, forms):
    lexicon = small._lexicons[PARTS_OF_SPEECH.index(part)]
    assert {word: inflected(word, inflection, lexicon) for word in forms} == forms


def test_all_parts_of_speech_in_their_order(small):
    assert words(small, 'film') == words(small, 'film', 'noun') + words(small, 'film', 'verb')


def test_a_folder_without_a_file_names_the_package(tmp_path):
    folder = write(tmp_path / 'wn')
    (folder / 'data.adv').unlink()
    with pytest.raises(FileNotFoundError, match=r'data\.adv is missing; install it with: apt install wordnet-base'):
        WordNet(str(folder)).load()


def test_the_default_folder_is_the_first_that_exists(tmp_path, monkeypatch):
    monkeypatch.setattr('samat_mm.words.substitutions.wordnet.FOLDERS', ('/nowhere', 'data/wordnet'))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('WNSEARCHDIR', raising=False)
    source = WordNet()
    assert source.describe() == {'type': 'WordNet'}
    with pytest.raises(
        FileNotFoundError, match=r"in none of /nowhere, data/wordnet; install .*, or give .* folder='\.\.\.'"
    ):
        source.load()
    (tmp_path / 'data').mkdir()
    write(tmp_path / 'data' / 'wordnet')
    assert words(WordNet(), 'child') == ['kid']
    write(tmp_path / 'own', {**SYNONYMS, 'noun': [['child', 'bairn']]})
    monkeypatch.setenv('WNSEARCHDIR', str(tmp_path / 'own'))
    assert words(WordNet(), 'child') == ['bairn']
    assert WordNet().digest != WordNet(str(tmp_path / 'data' / 'wordnet')).digest


@pytest.mark.parametrize(
    ('name', 'change'),
    [
        ('index.noun', lambda content: b''),
        ('index.noun', lambda content: content[:-1]),
        ('data.verb', lambda content: content[:-40]),
        ('data.verb', lambda content: b''),
        ('index.noun', lambda content: content.replace(b'child n 1', b'child n x')),
        ('index.noun', lambda content: content.replace(b'child n 1', b'child n 0')),
        ('index.noun', lambda content: content.replace(b'child n 1', b'child n 9')),
        ('data.noun', lambda content: b' ' + content),
        ('data.noun', lambda content: content.replace(b' 02 child', b' ff child')),
        ('data.noun', lambda content: content.replace(b' 02 child', b' zz child')),
        ('data.noun', lambda content: content.replace(b'child 0 kid', b'child 0 \xff\xfe\xfd')),
        ('verb.exc', lambda content: content + b'alone\n'),
    ],
)
def test_a_damaged_file_is_named(tmp_path, name, change):
    file = write(tmp_path / 'wn') / name
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(ValueError, match=rf'{name} is damaged or of another kind \(.*\); replace it'):
        words(WordNet(str(file.parent)), 'child')


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_damage_gives_an_error_in_a_sentence_or_words(tmp_path_factory, data):
    folder = write(tmp_path_factory.getbasetemp() / 'wn')
    file = folder / data.draw(st.sampled_from(sorted(path.name for path in folder.iterdir())))
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(bytes(content))
    source = WordNet(str(folder))
    for word in ('film', 'films', 'children', 'went', 'bigger', 'well', 'stories'):
        try:
            assert all(isinstance(new, str) for new in words(source, word))
        except ValueError as error:
            assert str(folder) in str(error)


def test_only_the_parameters_are_pickled(small):
    small.load()
    again = pickle.loads(pickle.dumps(small))
    assert vars(again) == {'folder': small.folder}
    assert words(again, 'children') == ['kids']


# ---------------------------------------------------------------------------------------------- the real dictionary


@pytest.fixture(scope='module')
def real():
    folder = Path(os.environ.get('WNSEARCHDIR', '/usr/share/wordnet'))
    if not (folder / 'data.noun').is_file():
        pytest.skip('WordNet is not installed: apt install wordnet-base')
    return WordNet(str(folder))


def test_the_real_dictionary(real):
    assert {'movie', 'picture'} <= set(words(real, 'film', 'noun'))
    assert {'movies', 'pictures'} <= set(words(real, 'films', 'noun'))
    assert {'amusing', 'comic', 'odd'} <= set(words(real, 'funny', 'adjective'))
    assert {'kids', 'youngsters'} <= set(words(real, 'children', 'noun'))
    assert 'believed' in words(real, 'thought', 'verb')
    assert 'attractively' in words(real, 'beautifully', 'adverb')
    assert not words(real, 'xyzzy')


def test_every_line_of_the_real_dictionary_is_read(real):
    synsets = 0
    for lexicon in real._lexicons:
        lemmas = [line.partition(b' ')[0].decode() for line in lexicon._lines.values()]
        assert all(lexicon.synonyms(lemma) for lemma in lemmas[::97])
        synsets += sum(line[:8].isdigit() for line in lexicon._data.split(b'\n'))
    assert synsets == 117_659
    assert [lexicon.part_of_speech for lexicon in real._lexicons] == list(PARTS_OF_SPEECH)


def test_no_form_of_the_real_dictionary_is_the_plural_of_a_plural(real):
    nouns = real._lexicons[0]
    plurals = [word.decode() for word in nouns._lines if word.endswith(b's') and word[:-1] in nouns._lines]
    assert len(plurals) > 500
    forms = {word: inflected(word, 's', nouns) for word in plurals if word not in nouns.irregular_forms}
    assert all(word.endswith(('ss', 'us')) for word, form in forms.items() if form is not None)
    assert {'manners', 'modes'} <= set(words(real, 'ways', 'noun'))
    assert 'stomaches' not in words(real, 'bellies', 'noun')
