"""HowNet's candidates, vectors and thesauri: what they give, and damaged or hostile files."""

import io
import pickle
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hostile import NAMES, attempts, hidden
from hypothesis import given, settings
from hypothesis import strategies as st

from samat_mm import compat
from samat_mm.registry import SUBSTITUTIONS
from samat_mm.words.substitutions import CounterFittedVectors, HowNet, MyThes, WordNet

BANK = {
    'film': {'noun': ['movie', 'picture', 'film', 'movie'], 'verb': ['shoot']},
    'good': {'adj': ['fine', 'great'], 'adv': [], 'noun': ['goods']},
}
THESAURUS = """UTF-8
film|2
(noun)|movie|picture|show (generic term)
(verb)|shoot|record (generic term)
good|2
(adj)|great (similar term)|bad (antonym)|fine|not bad
(noun)|commodity
"""


@pytest.fixture
def bank(tmp_path):
    def write(value=BANK, protocol=4):
        path = tmp_path / 'candidates.pkl'
        path.write_bytes(pickle.dumps(value, protocol=protocol))
        return HowNet(str(path))

    return write


@pytest.fixture
def vectors(tmp_path):
    def write(matrix, rows=None, **settings):
        rows = {name: row for row, name in enumerate('abcdefghij'[: len(matrix)])} if rows is None else rows
        np.save(tmp_path / 'vectors.npy', matrix)
        (tmp_path / 'words.pkl').write_bytes(pickle.dumps(rows))
        return CounterFittedVectors(str(tmp_path / 'vectors.npy'), str(tmp_path / 'words.pkl'), **settings)

    return write


@pytest.fixture
def thesaurus(tmp_path):
    def write(text=THESAURUS, encoding='utf-8'):
        path = tmp_path / 'th.dat'
        path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return MyThes(str(path))

    return write


# -------------------------------------------------------------------------------------------------------- HowNet


@pytest.mark.parametrize('protocol', [0, 2, 4, 5])
def test_hownets_candidates_by_part_of_speech(bank, protocol):
    source = bank(protocol=protocol)
    assert source('film', 'noun') == [('movie', 0), ('picture', 0)]
    assert source('film') == [('movie', 0), ('picture', 0), ('shoot', 0)]
    assert source('good', 'adjective') == [('fine', 0), ('great', 0)]
    assert source('good', 'adverb') == source('good', 'verb') == source('unknown') == source('') == []


def test_other_plain_containers_are_read_too(bank):
    nested = defaultdict(dict, {'film': {'noun': ('movie',)}})
    assert bank(nested)('film') == [('movie', 0)]


@pytest.mark.parametrize('trusted', ['0', '1'])
@pytest.mark.parametrize('attempt', NAMES)
def test_a_hostile_pickle_runs_nothing(attempt, trusted, bank, tmp_path, monkeypatch):
    monkeypatch.setenv(compat.TRUST_VARIABLE, trusted)
    victim = tmp_path / 'created'
    source = bank({**BANK, 'more': hidden(attempts(victim)[attempt], seed=len(attempt))})
    with pytest.raises(ValueError, match=r'candidates\.pkl was refused: it holds something that loading would have to'):
        source.load()
    assert not victim.exists()


@pytest.mark.parametrize(
    'value', [[], {'film': ['movie']}, {'film': {'noun': [3]}}, {3: {}}, {'film': {'noun': 'movie'}}]
)
def test_a_pickle_of_something_else_is_refused(bank, value):
    with pytest.raises(ValueError, match='not the substitutions of words by part of speech'):
        bank(value).load()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_pickle_is_an_error_in_a_sentence_or_plain_data(tmp_path_factory, data):
    content = bytearray(pickle.dumps(BANK, protocol=data.draw(st.sampled_from([0, 2, 4]))))
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / 'damaged.pkl'
    path.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    try:
        HowNet(str(path)).load()
    except ValueError as error:
        assert str(path) in str(error)


# ------------------------------------------------------------------------------------------------------- vectors


def test_the_nearest_vectors_and_their_squared_distances(vectors):
    source = vectors(np.array([[0, 0], [3, 4], [1, 0], [0, -1], [10, 10]], np.float32), neighbours=3)
    assert source('a') == [('c', 1.0), ('d', 1.0), ('b', 25.0)]  # ties in the order of the rows
    assert source('a', 'noun') == source('a')
    assert source('unknown') == source('') == []
    assert [word for word, _ in source('e')] == ['b', 'c', 'a']


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 10), st.integers(1, 12), st.integers(0, 10**6))
def test_neighbours_are_those_of_a_full_sort(tmp_path_factory, count, neighbours, seed):
    folder = tmp_path_factory.getbasetemp()
    matrix = np.random.default_rng(seed).integers(-3, 4, (count, 2)).astype(float)
    np.save(folder / 'v.npy', matrix)
    (folder / 'w.pkl').write_bytes(pickle.dumps({f'w{row}': row for row in range(count)}))
    source = CounterFittedVectors(str(folder / 'v.npy'), str(folder / 'w.pkl'), neighbours)
    for row in range(count):
        distances = sorted((sum((matrix[row] - matrix[near]) ** 2), near) for near in range(count) if near != row)
        assert source(f'w{row}') == [(f'w{near}', distance) for distance, near in distances[:neighbours]]


@pytest.mark.parametrize(
    ('matrix', 'rows', 'message'),
    [
        (np.zeros(3), None, 'shape'),
        (np.zeros((2, 2), int), None, 'shape'),
        (np.array([[np.nan, 0.0]]), None, 'not all numbers are finite'),
        (np.zeros((2, 2)), {'a': 0}, 'not each of the 2 rows'),
        (np.zeros((2, 2)), {'a': 0, 'b': 2}, 'not each of the 2 rows'),
        (np.zeros((2, 2)), {'a': 0, 'b': 0}, 'not each of the 2 rows'),
        (np.zeros((2, 2)), {'a': 0, 'b': 'x'}, 'not each of the 2 rows'),
        (np.zeros((2, 2)), ['a', 'b'], 'not rows by word'),
        (np.zeros((2, 2)), {0: 0, 1: 1}, 'not rows by word'),
    ],
)
def test_vectors_and_words_that_do_not_fit_are_refused(vectors, matrix, rows, message):
    with pytest.raises(ValueError, match=message):
        vectors(matrix, rows).load()


def huge_header():
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {'descr': '<f8', 'fortran_order': False, 'shape': (2**40, 300)})
    return buffer.getvalue()


def open_header():
    """A header that is cut within a bracket, which numpy takes for a line that goes on."""
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((2, 2)))
    return buffer.getvalue().replace(b')', b'(')


def objects():
    buffer = io.BytesIO()
    np.save(buffer, np.array([[{}]], object))
    return buffer.getvalue()


@pytest.mark.parametrize(
    'content', [b'', b'text', b'\x93NUMPY', b'PK\x05\x06' + 18 * b'\0', huge_header(), objects(), open_header()]
)
def test_a_damaged_file_of_vectors_is_named(vectors, tmp_path, content):
    source = vectors(np.zeros((2, 2)))
    (tmp_path / 'vectors.npy').write_bytes(content)
    with pytest.raises(ValueError, match=r'vectors\.npy is damaged or of another kind'):
        source.load()


def test_a_hostile_word_list_runs_nothing(vectors, tmp_path):
    victim = tmp_path / 'created'
    with pytest.raises(ValueError, match=r'words\.pkl was refused'):
        vectors(np.zeros((1, 2)), {'a': attempts(victim)['os.system']}).load()
    assert not victim.exists()


def test_the_number_of_neighbours_is_checked():
    with pytest.raises(ValueError, match='neighbours must be a whole number of at least 1'):
        CounterFittedVectors('a', 'b', 0)


# -------------------------------------------------------------------------------------------------------- MyThes


def test_a_thesaurus_gives_the_synonyms_of_each_sense(thesaurus):
    source = thesaurus()
    assert source('film') == [('movie', 0), ('picture', 0), ('shoot', 0)]
    assert source('film', 'verb') == [('shoot', 0)]
    assert source('good', 'adjective') == [('fine', 0)]  # neither similar nor opposite terms, nor several words
    assert source('unknown') == source('') == source('film', 'adverb') == []


def test_a_thesaurus_states_its_encoding(thesaurus):
    assert thesaurus('ISO8859-1\nblasé|1\n(adj)|naïf\n', 'latin-1')('blasé') == [('naïf', 0)]


@pytest.mark.parametrize(
    'text',
    [
        '',
        'no-such-encoding\nfilm|0\n',
        'UTF-8\nfilm\n(noun)|movie\n',
        'UTF-8\nfilm|x\n',
        'UTF-8\nfilm|2\n(noun)|movie\n',
        b'UTF-8\n\xff|0\n',
        b'\xff\xfe\n',
    ],
)
def test_a_damaged_thesaurus_is_named(thesaurus, text):
    with pytest.raises(ValueError, match=r'th\.dat is damaged or of another kind'):
        thesaurus(text).load()


# ----------------------------------------------------------------------------------------------------------- all


@pytest.mark.parametrize('name', ['HowNet', 'CounterFittedVectors', 'MyThes', 'WordNet'])
def test_a_missing_file_is_found_when_it_is_read(name, tmp_path):
    missing = str(tmp_path / 'missing')
    parameters = {'WordNet': {'folder': missing}, 'CounterFittedVectors': {'vectors': missing, 'words': missing}}
    config = {'type': name, **parameters.get(name, {'file': missing})}
    source = SUBSTITUTIONS.build(config)  # which reads nothing
    assert source.describe() == {**config, **({'neighbours': 50} if name == 'CounterFittedVectors' else {})}
    assert SUBSTITUTIONS.build(source.describe()) == source
    for read in (source.load, lambda: source('word'), lambda: source.digest):
        with pytest.raises(FileNotFoundError, match=r'missing.* is missing; (give|install)'):
            read()


def test_a_folder_in_the_place_of_a_file_is_an_error_in_a_sentence(tmp_path):
    with pytest.raises(OSError, match='cannot be read'):
        HowNet(str(tmp_path)).load()


def test_the_digest_follows_the_content(bank, vectors, thesaurus):
    before = [bank().digest, vectors(np.zeros((2, 2))).digest, thesaurus().digest]
    assert before == [bank().digest, vectors(np.zeros((2, 2))).digest, thesaurus().digest]
    after = [bank({}).digest, vectors(np.ones((2, 2))).digest, thesaurus(THESAURUS + 'a|0\n').digest]
    assert all(was != now for was, now in zip(before, after, strict=True))
    assert vectors(np.zeros((2, 2)), {'a': 1, 'b': 0}).digest != before[1]


def test_what_was_read_is_not_pickled(bank):
    source = bank()
    source.load()
    again = pickle.loads(pickle.dumps(source))
    assert again == source
    assert vars(again) == {'file': source.file}
    assert again('film') == source('film')


def test_an_unknown_source_is_refused():
    with pytest.raises(ValueError, match=r"substitutions of type 'Thesaurus' is unknown; the known ones are"):
        SUBSTITUTIONS.build(dict(type='Thesaurus'))
    with pytest.raises(ValueError, match='WordNet does not accept these parameters'):
        SUBSTITUTIONS.build(dict(type='WordNet', file='x'))
    assert isinstance(SUBSTITUTIONS.build(WordNet()), WordNet)


@pytest.mark.parametrize('path', [5, ['a'], b'a', True, ''])
@pytest.mark.parametrize(
    ('source', 'parameters'),
    [
        (WordNet, ['folder']),
        (HowNet, ['file']),
        (MyThes, ['file']),
        (CounterFittedVectors, ['vectors', 'words']),
    ],
)
def test_what_is_no_path_is_refused(source, parameters, path):
    for name in parameters:
        with pytest.raises(ValueError, match=f'{name} must be a path, as text or Path; got '):
            source(**{**dict.fromkeys(parameters, 'x'), name: path})
        assert source(**dict.fromkeys(parameters, Path('x'))) == source(**dict.fromkeys(parameters, 'x'))
