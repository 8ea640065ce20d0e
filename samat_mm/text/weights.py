"""DistilBERT of the package transformers: from a folder, from the hub, or randomly initialised."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from samat_mm.errors import FileError, InputError, MissingFileError, UserError
from samat_mm.files.access import reading
from samat_mm.text.packages import text_package

HEAD = ('pre_classifier.', 'classifier.')  # absent in a pretrained model, and then randomly initialised
WEIGHTS = 'model.safetensors'
NAME = 'distilbert/distilbert-base-uncased'  # on the hub
SOURCE = f'huggingface.co/{NAME}'
UNREADABLE = (OSError, ValueError, RuntimeError, KeyError, TypeError)


def random_network(architecture: dict[str, Any], **settings: Any) -> Any:
    """Return a randomly initialised ``DistilBertForSequenceClassification``.

    Args:
        architecture: arguments of ``DistilBertConfig`` (``vocab_size``, ``dim``, ``n_layers`` ...).
        settings: further ones that are no part of the architecture.

    Raises:
        ValueError: if they do not fit each other.
    """
    transformers = text_package('transformers')
    if not isinstance(architecture, dict):
        raise InputError(f'architecture must be a dict of arguments of DistilBertConfig; got {architecture!r}.')
    unknown = [name for name in architecture if not hasattr(transformers.DistilBertConfig(), str(name))]
    if unknown:  # which DistilBertConfig ignores
        raise InputError(f'DistilBertConfig has no argument {", ".join(map(str, unknown))}; correct the architecture.')
    try:
        config = transformers.DistilBertConfig(**architecture, **settings)
        return transformers.DistilBertForSequenceClassification(config)
    except Exception as error:  # the package checks values with errors of many types
        raise InputError(
            f'there is no DistilBERT with architecture={architecture!r} ({_first_line(error)}); correct it.'
        ) from error


def network_in(folder: str, **settings: Any) -> Any:
    """Return the ``DistilBertForSequenceClassification`` of a folder in the form of the Hugging Face hub.

    Args:
        folder: has ``config.json`` and ``model.safetensors``; pickled weights are not read.
        settings: arguments of ``DistilBertConfig`` that replace those of ``config.json``.

    Raises:
        FileNotFoundError: if one of the files is missing.
        ValueError: if they are damaged, or of another model.
    """
    if not isinstance(folder, (str, Path)):
        raise InputError(f'pretrained must be a folder, dict(hub=NAME) or None; got {folder!r}.')
    path = Path(folder)
    with reading(path):
        missing = [name for name in ('config.json', WEIGHTS) if not (path / name).is_file()]
    if missing:
        raise MissingFileError(
            f'no pretrained DistilBERT is in {folder}: {" and ".join(missing)} is missing; put the files of {SOURCE} '
            f'there, or ask for a download by pretrained=dict(hub={NAME!r}).'
        )
    try:
        return _loaded(folder, local_files_only=True, **settings)
    except UserError:
        raise
    except Exception as error:  # the packages check values with errors of many types
        raise InputError(f'{folder} cannot be loaded ({_first_line(error)}); download its files again.') from error


def network_from_hub(name: str, **settings: Any) -> Any:
    """Download a ``DistilBertForSequenceClassification``, or find it in the cache.

    Args:
        name: a model of the hub, such as 'distilbert/distilbert-base-uncased'.
        settings: as for :func:`network_in`.

    Raises:
        OSError: if it cannot be downloaded.
        ValueError: if it is another model.
    """
    with from_hub(name):
        return _loaded(name, **settings)


@contextmanager
def from_hub(name: str) -> Iterator[None]:
    """Turn the errors of a download into one sentence.

    Raises:
        OSError: naming the model, and what to do without a network.
        ValueError: if the name is no string.
    """
    if not isinstance(name, str) or not name:
        raise InputError(f'hub must be the name of a model of the hub, such as {NAME!r}; got {name!r}.')
    try:
        yield
    except UserError:
        raise
    except UNREADABLE as error:
        raise FileError(
            f'{name} cannot be had from the hub ({_first_line(error)}); check the name and the network, or put its '
            'files into a folder and name this.'
        ) from error


def _loaded(source: str, **settings: Any) -> Any:
    transformers = text_package('transformers')
    local = {key: settings.pop(key) for key in ('local_files_only',) if key in settings}
    config = transformers.AutoConfig.from_pretrained(source, **local)
    if config.model_type != 'distilbert':
        raise InputError(f'{source} holds a model of the type {config.model_type!r}; give a DistilBERT.')
    for key, value in settings.items():
        setattr(config, key, value)
    with _quiet(transformers):
        network, report = transformers.DistilBertForSequenceClassification.from_pretrained(
            source, config=config, use_safetensors=True, dtype='float32', output_loading_info=True, **local
        )
    lacking = sorted(key for key in report['missing_keys'] if not key.startswith(HEAD))
    if lacking:
        raise InputError(f'the weights of {source} lack {", ".join(lacking[:3])}; give those of a DistilBERT.')
    return network


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Leave out the progress and the table of weights that a new head lacks."""
    logging = transformers.utils.logging
    level, shows = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shows:
            logging.enable_progress_bar()


def _first_line(error: Exception) -> str:
    return str(error).strip().partition('\n')[0].rstrip('.') or type(error).__name__
