"""WordPiece tokenizers: from the folder of a pretrained model, or trained on the sentences of a data set."""

import json
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from mmengine.registry import DATASETS, TASK_UTILS

from samat_mm.errors import InputError, MissingFileError, UnsupportedError
from samat_mm.files.images import naming
from samat_mm.perturbations.checks import whole_number
from samat_mm.text.packages import text_package
from samat_mm.text.weights import SOURCE, from_hub

SPECIAL = ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]')
ENDS = ('[CLS]', '[SEP]')
FILES = ('tokenizer.json', 'vocab.txt')  # of a pretrained tokenizer; one is enough


def is_tokenizer(value: Any) -> bool:
    """Tell whether a value is a tokenizer of the package tokenizers."""
    tokenizers = text_package('tokenizers')
    return isinstance(value, (tokenizers.Tokenizer, tokenizers.implementations.BaseTokenizer))


@TASK_UTILS.register_module(name='PretrainedTokenizer')
def pretrained_tokenizer(folder: str | None = None, hub: str | None = None) -> Any:
    """Return the tokenizer of a pretrained model, a ``tokenizers.Tokenizer``.

    Args:
        folder: folder with ``tokenizer.json``, or with ``vocab.txt`` for one that lower-cases as BERT's.
        hub: a model of the Hugging Face hub instead of a folder, which is downloaded.

    Raises:
        FileNotFoundError: if the folder has neither file.
        OSError: if it cannot be downloaded.
        ValueError: if a file is damaged, or not exactly one of folder and hub is given.
    """
    if (folder is None) == (hub is None):
        raise InputError(f'PretrainedTokenizer needs either folder or hub; got folder={folder!r} and hub={hub!r}.')
    if hub is not None:
        with from_hub(hub):
            return _for_sentences(
                text_package('transformers').AutoTokenizer.from_pretrained(hub).backend_tokenizer, hub
            )
    path = next((path for name in FILES if (path := Path(str(folder)) / name).is_file()), None)
    if path is None:
        raise MissingFileError(
            f'{folder} has neither {" nor ".join(FILES)}; put the files of a pretrained model there, as '
            f'{SOURCE} has them.'
        )
    return _for_sentences(_read(path), path)


def _read(path: Path) -> Any:
    tokenizers = text_package('tokenizers')
    with naming('tokenizer', path):
        text = path.read_text(encoding='utf-8')
        if path.suffix == '.json':
            json.loads(text)  # whose errors name a line
            try:
                return tokenizers.Tokenizer.from_str(text)
            except Exception as error:  # tokenizers raises nothing more specific
                raise ValueError(error) from error
        vocabulary = {token: number for number, token in enumerate(text.removesuffix('\n').split('\n'))}
    lacking = [token for token in SPECIAL if token not in vocabulary]
    if lacking:
        raise InputError(f'vocabulary {path} lacks {", ".join(lacking)}; replace it by the one of the model.')
    return tokenizers.BertWordPieceTokenizer(vocabulary, lowercase=True)._tokenizer


def _for_sentences(tokenizer: Any, source: Any) -> Any:
    """Return a tokenizer that neither fills up nor cuts, and puts a token at each end of a sentence."""
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if tokenizer.num_special_tokens_to_add(is_pair=False) != len(ENDS):
        raise InputError(
            f'the tokenizer {source} does not put {" and ".join(ENDS)} around a sentence; give another one.'
        )
    return tokenizer


@TASK_UTILS.register_module(name='TrainedTokenizer')
def trained_tokenizer(dataset: dict, size: int) -> Any:
    """Return a tokenizer that is trained on the sentences of a data set, a ``tokenizers.Tokenizer``.

    It is trained again whenever it is needed, which takes about a second for Rotten Tomatoes and gives the same
    vocabulary each time.

    Args:
        dataset: config of a data set with ``text``.
        size: the largest number of WordPieces.

    Raises:
        TypeError: if the data set is no config, or has no texts.
        ValueError: if the size is no whole number, or has no room for the alphabet.
    """
    if not isinstance(dataset, dict):
        raise UnsupportedError(
            "TrainedTokenizer needs the config of a data set, such as dict(type='RottenTomatoes', split='train'); got "
            f'dataset={dataset!r}.'
        )
    whole_number(size, 'size')
    given = _Given(_frozen(dataset), dataset)
    try:
        hash(given)
    except TypeError:  # of a value that cannot be compared, such as an array
        return _train(dataset, size)
    return _trained(given, size)


@dataclass(frozen=True)
class _Given:
    """A config that can be looked up."""

    frozen: Hashable
    config: dict = field(compare=False)


def _frozen(value: Any) -> Hashable:
    """Return a config as nested tuples, which are equal if their types and values are."""
    if isinstance(value, dict):
        return dict, tuple((key, _frozen(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return list, tuple(map(_frozen, value))
    return type(value), value


@lru_cache(maxsize=4)
def _trained(given: _Given, size: int) -> Any:
    return _train(given.config, size)


def _train(dataset: dict, size: int) -> Any:
    data = DATASETS.build(dataset)
    return train_tokenizer([_text_of(data, index) for index in range(len(data))], size)


def _text_of(data: Any, index: int) -> str:
    info = data.get_data_info(index) if hasattr(data, 'get_data_info') else {}
    if not isinstance(info.get('text'), str):
        raise UnsupportedError(
            f'TrainedTokenizer needs a data set whose get_data_info has a text; {type(data).__name__} has none. Name '
            'one of sentences.'
        )
    return info['text']


def train_tokenizer(sentences: Iterable[str], size: int) -> Any:
    """Train a WordPiece tokenizer that lower-cases, as BERT's, and return the ``tokenizers.Tokenizer``.

    The vocabulary depends on the sentences and the size alone. (The trainer numbers the characters within words in the
    order of a hash table, and these numbers decide between pieces that are equally frequent. Given beforehand, among
    the special tokens, they have the order of the alphabet.)

    Args:
        sentences: the training text.
        size: the largest number of WordPieces.

    Raises:
        ValueError: if the size is no whole number, there is no room for the alphabet, or there is no sentence.
    """
    whole_number(size, 'size')
    sentences = list(sentences)
    if not sentences:
        raise InputError('a tokenizer cannot be trained on 0 sentences; give some.')
    bert = text_package('tokenizers').BertWordPieceTokenizer
    tokenizer = bert(lowercase=True)
    characters: set[str] = set()
    for sentence in sentences:
        for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(sentence)):
            characters.update(word)
    known = [*SPECIAL, *(f'##{character}' for character in sorted(characters))]
    if size < len(known) + len(characters):
        raise InputError(
            f'a vocabulary of these sentences needs at least {len(known) + len(characters)} WordPieces, for their '
            f'{len(characters)} characters; got size={size}.'
        )
    tokenizer.train_from_iterator(sentences, vocab_size=size, special_tokens=known, show_progress=False)
    return bert(tokenizer.get_vocab(), lowercase=True)._tokenizer  # in which only SPECIAL is special
