"""WordPiece: trained to the same vocabulary each time, and read from the files of a pretrained model."""

import json
import re

import numpy as np
import pytest
import tokenizers
from small_text import BAD, GOOD, write_reviews

from samat_mm.datasets import HandwrittenDigits, RottenTomatoes
from samat_mm.errors import MissingPackageError
from samat_mm.text import packages, pretrained_tokenizer, train_tokenizer, trained_tokenizer
from samat_mm.text.tokenizers import SPECIAL

# As many pairs of characters of equal frequency as possible.
TIES = [' '.join(f'{a}{b}{c}' for a in 'abcdefgh' for b in 'ijklmnop' for c in 'qrstuvwx')]


def vocabulary_of(tokenizer):
    return sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)


def test_training_gives_the_same_vocabulary_each_time():
    first = vocabulary_of(train_tokenizer(TIES, 100))
    assert all(vocabulary_of(train_tokenizer(TIES, 100)) == first for _ in range(5))
    assert first[:5] == list(SPECIAL) and len(first) == 100
    plain = []
    for _ in range(6):  # the trainer on its own
        trainer = tokenizers.BertWordPieceTokenizer()
        trainer.train_from_iterator(TIES, vocab_size=100, show_progress=False)
        plain.append(vocabulary_of(trainer))
    assert any(other != plain[0] for other in plain)


def plain_tokens(sentence, vocabulary):
    """The longest piece first, word by word."""
    found = ['[CLS]']
    for word in re.findall(r'\w+|[^\w\s]', sentence.lower()):
        pieces, start = [], 0
        while start < len(word):
            ends = range(len(word), start, -1)
            named = [('##' if start else '') + word[start:end] for end in ends]
            piece = next((piece for piece in named if piece in vocabulary), None)
            if piece is None:
                pieces = ['[UNK]']
                break
            pieces.append(piece)
            start += len(piece.removeprefix('##'))
        found += pieces
    return [*found, '[SEP]']


def test_sentences_are_cut_into_the_longest_pieces():
    tokenizer = train_tokenizer(GOOD + BAD, 80)
    vocabulary = tokenizer.get_vocab()
    for sentence in [*GOOD, 'A Coldly FUNNY, dulled film!', 'xyz wise']:
        encoded = tokenizer.encode(sentence)
        assert encoded.tokens == plain_tokens(sentence, vocabulary)
        assert encoded.ids == [vocabulary[token] for token in encoded.tokens]
    assert tokenizer.encode('a ##a [SEP]').tokens[2:5] == ['[UNK]', '[UNK]', 'a']  # no piece is special


def test_the_sentences_of_a_data_set_are_the_training_text(tmp_path):
    root = str(write_reviews(tmp_path / 'rt'))
    dataset = dict(type='RottenTomatoes', data_root=root, split='train', sentences=None)
    tokenizer = trained_tokenizer(dataset, 80)
    positive, negative = (GOOD * 2)[:8], (BAD * 2)[:8]
    assert vocabulary_of(tokenizer) == vocabulary_of(train_tokenizer(positive + negative, 80))
    assert trained_tokenizer(dataset, 80) is tokenizer
    with pytest.raises(ValueError, match=r'needs at least \d+ WordPieces, for their \d+ characters; got size=30'):
        trained_tokenizer(dataset, 30)


def test_a_config_may_hold_classes_and_arrays(tmp_path):
    root = write_reviews(tmp_path / 'rt')
    plain = dict(type='RottenTomatoes', data_root=str(root), sentences=None)
    by_class = {**plain, 'type': RottenTomatoes, 'data_root': root}
    tokenizer = trained_tokenizer(by_class, 80)
    assert trained_tokenizer(dict(by_class), 80) is tokenizer
    assert vocabulary_of(tokenizer) == vocabulary_of(trained_tokenizer(plain, 80))
    with_array = {**plain, 'metainfo': dict(weights=np.zeros(2))}
    assert vocabulary_of(trained_tokenizer(with_array, 80)) == vocabulary_of(tokenizer)


def test_configs_that_differ_in_a_type_alone_are_two(tmp_path):
    config = dict(type='RottenTomatoes', data_root=str(write_reviews(tmp_path / 'rt')), sentences=None)
    by_number, by_truth = (trained_tokenizer({**config, 'metainfo': dict(kind=kind)}, 80) for kind in (1, True))
    assert by_number is not by_truth


@pytest.mark.parametrize('size', ['x', 80.5, None, True, [80]])
def test_a_size_that_is_no_whole_number_is_refused(size):
    with pytest.raises(ValueError, match=r'size must be a whole number of at least 1; got'):
        trained_tokenizer(dict(type='RottenTomatoes'), size)
    with pytest.raises(ValueError, match=r'size must be a whole number of at least 1; got'):
        train_tokenizer(GOOD, size)


def test_a_tokenizer_needs_the_config_of_a_data_set_with_sentences():
    for given in ('RottenTomatoes', None, RottenTomatoes):
        with pytest.raises(TypeError, match=r"config of a data set, such as dict\(type='RottenTomatoes'"):
            trained_tokenizer(given, 80)
    with pytest.raises(TypeError, match=r'get_data_info has a text; HandwrittenDigits has none'):
        trained_tokenizer(dict(type=HandwrittenDigits), 80)
    with pytest.raises(ValueError, match=r'cannot be trained on 0 sentences'):
        train_tokenizer([], 80)


@pytest.mark.parametrize('hub', ['', 5, ['a']])
def test_the_name_of_a_model_of_the_hub_is_a_string(hub):
    with pytest.raises(ValueError, match=r"hub must be the name .*'distilbert/distilbert-base-uncased'; got"):
        pretrained_tokenizer(hub=hub)


@pytest.mark.parametrize('name', ['tokenizer.json', 'vocab.txt'])
def test_the_files_of_a_pretrained_model_give_its_tokenizer(name, tmp_path):
    tokenizer = train_tokenizer(GOOD + BAD, 80)
    if name == 'tokenizer.json':
        tokenizer.save(str(tmp_path / name))
    else:
        (tmp_path / name).write_text('\n'.join(vocabulary_of(tokenizer)) + '\n')
    loaded = pretrained_tokenizer(str(tmp_path))
    for sentence in GOOD:
        assert loaded.encode(sentence).ids == tokenizer.encode(sentence).ids


def test_a_saved_tokenizer_neither_fills_up_nor_cuts(tmp_path):
    tokenizer = train_tokenizer(GOOD + BAD, 80)
    expected = tokenizer.encode(GOOD[0]).ids
    tokenizer.enable_padding(length=50)
    tokenizer.enable_truncation(4)
    tokenizer.save(str(tmp_path / 'tokenizer.json'))
    assert pretrained_tokenizer(str(tmp_path)).encode(GOOD[0]).ids == expected


def test_a_tokenizer_without_the_tokens_at_the_ends_is_refused(tmp_path):
    bare = tokenizers.Tokenizer(tokenizers.models.WordPiece({'[UNK]': 0, 'a': 1}, unk_token='[UNK]'))
    bare.save(str(tmp_path / 'tokenizer.json'))
    with pytest.raises(ValueError, match=r'does not put \[CLS\] and \[SEP\] around a sentence'):
        pretrained_tokenizer(str(tmp_path))


@pytest.mark.parametrize(
    ('name', 'text', 'sentence'),
    [
        ('tokenizer.json', '{"version"', r'tokenizer \S*tokenizer\.json cannot be decoded'),
        ('tokenizer.json', json.dumps({'version': '1.0'}), r'tokenizer \S*tokenizer\.json cannot be decoded'),
        ('vocab.txt', 'a\nb\n[PAD]\n', r'vocabulary \S*vocab\.txt lacks \[UNK\], \[CLS\], \[SEP\], \[MASK\]'),
    ],
)
def test_a_damaged_file_is_named(name, text, sentence, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=sentence):
        pretrained_tokenizer(str(tmp_path))


def test_a_folder_without_the_files_and_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'has neither tokenizer\.json nor vocab\.txt'):
        pretrained_tokenizer(str(tmp_path))
    for given in ({}, dict(folder='a', hub='b')):
        with pytest.raises(ValueError, match=r'needs either folder or hub'):
            pretrained_tokenizer(**given)


def test_without_its_packages_text_says_what_to_install(monkeypatch, tmp_path):
    def refuse(name):
        raise ModuleNotFoundError(f'No module named {name!r}')

    monkeypatch.setattr(packages, 'import_module', refuse)
    (tmp_path / 'vocab.txt').write_text('a')
    with pytest.raises(MissingPackageError, match=r'package tokenizers, .*pip install samat-mm\[text\]'):
        pretrained_tokenizer(str(tmp_path))
