"""Whether reports can be compared, and in which details their evaluations differ."""

from collections.abc import Callable, Mapping
from typing import Any

from samat_mm.errors import InputError
from samat_mm.visualization.document import attacks_of, in_255ths, main_metric, units

Document = Mapping[str, Any]


def _evaluation(name: str, default: Any = None) -> Callable[[Document], Any]:
    return lambda document: document.get('evaluation', {}).get(name, default)


def _data(document: Document) -> dict[str, Any] | None:
    """Return the entries of the test set, without the folder, which is another one on another machine."""
    found = document.get('provenance', {}).get('data')
    return {key: value for key, value in found.items() if key != 'data_root'} if found else None


def _made_on(document: Document) -> str:
    """Return the checkpoint of the model that attacks were made on: its digest, or its path in older reports."""
    found = _evaluation('made_on')(document)
    return str(found.get('sha256', found['checkpoint'])) if found else 'the tested model'


# What must agree, and what to do otherwise. None: an older version did not write it.
SAME_DATA = 'test all models on the same samples'
MUST_AGREE: dict[str, tuple[Callable[[Document], Any], str]] = {
    'the main metric': (main_metric, 'models are compared by one metric'),
    'what is tested': (units, SAME_DATA),
    'the number of samples': (lambda document: document['samples'], SAME_DATA),
    'the selection of the samples': (_evaluation('selection'), SAME_DATA),
    'the data set': (_data, SAME_DATA),
    'the list of classes': (lambda document: (document.get('per_class') or {}).get('classes'), SAME_DATA),
    'the size of the labels': (_evaluation('label_size'), SAME_DATA),
    'the range of the pixels': (_evaluation('pixel_range'), 'radii would have several meanings'),
    'the protocol': (_evaluation('protocol', 'strict'), 'test all models with the same --protocol'),
    'the model that attacks were made on': (
        _made_on,
        'compare transfer attacks from one --surrogate, or attacks on the tested models',
    ),
}
DETAILS: dict[str, Callable[[Document], Any]] = {
    'seed of the attacks': lambda document: document.get('seed'),
    'precision of the attacks': _evaluation('craft_dtype'),
    'inference': _evaluation('mode'),
    'input size': _evaluation('input_size'),
    'device': _evaluation('device'),
}


def refuse_disagreement(documents: Mapping[str, Document]) -> None:
    """Refuse reports whose numbers do not belong in one table.

    Args:
        documents: the documents by the name of their report.

    Raises:
        ValueError: with what differs between which reports, and what to do.
    """
    for what, (read, advice) in MUST_AGREE.items():
        stated = {name: read(document) for name, document in documents.items()}
        _refuse(what, {name: value for name, value in stated.items() if value is not None}, advice)
    for attack in dict.fromkeys(name for document in documents.values() for name in attacks_of(document)):
        found = {name: attacks_of(document).get(attack, {}).get('attack') for name, document in documents.items()}
        described = {name: _without_seeds(value) for name, value in found.items() if value}
        for key in dict.fromkeys(key for value in described.values() for key in value):
            values = {name: value.get(key) for name, value in described.items()}
            _refuse(f'{key} of {attack}', values, 'attacks of one name need the same parameters', _radius(key))


def details(documents: Mapping[str, Document]) -> list[str]:
    """Return the details in which the evaluations differ, each in a sentence."""
    readers = {**DETAILS, **{f'version of {name}': _version(name) for name in _packages(documents)}}
    sentences = []
    for what, read in readers.items():
        values = dict.fromkeys(str(read(document)) for document in documents.values() if read(document) is not None)
        if len(values) > 1:
            sentences.append(f'The {what} differs between the reports: {", ".join(values)}.')
    silent = [
        what for what, (read, _) in MUST_AGREE.items() if len({read(each) is None for each in documents.values()}) > 1
    ]
    if silent:
        sentences.append(f'Some reports, written by older versions, do not state {", ".join(silent)}.')
    return sentences


def other_settings(method: str, documents: Mapping[str, Document]) -> list[str]:
    """Return a sentence if the reports of a method have one config with several settings, overridden or edited.

    Args:
        method: its name.
        documents: its documents by the name of their report.
    """
    by_config: dict[str, set[Any]] = {}
    for document in documents.values():
        settings = document.get('provenance', {}).get('config', {}).get('sha256')
        by_config.setdefault(document['config'], set()).update({settings} - {None})
    several = [config for config, settings in by_config.items() if len(settings) > 1]
    return [f'The reports of {method} have several settings of {config}; see their provenance.' for config in several]


def failed_checks(documents: Mapping[str, Document]) -> list[str]:
    """Return a sentence for each report in which a sanity check failed."""
    failed = {
        name: [entry['check'] for entry in document.get('sanity', ()) if entry['verdict'] == 'FAIL']
        for name, document in documents.items()
    }
    return [
        f'Sanity checks failed in {name}, so its robustness may be overestimated: {"; ".join(checks)}.'
        for name, checks in failed.items()
        if checks
    ]


def _refuse(what: str, values: Mapping[str, Any], advice: str, shown: Callable[[Any], str] = str) -> None:
    """Refuse values that are not all the same; the first two that differ are named."""
    (first, value), *rest = values.items() if values else [('', None)]
    for name, other in rest:
        if other != value:
            known = (shown(value), shown(other))
            texts = ['another' if len(text) > 60 else text for text in known]
            raise InputError(
                f'the reports cannot be compared: {what} is {texts[0]} in {first} and {texts[1]} in {name}; {advice}.'
            )


def _without_seeds(attack: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of an attack, and of one that it runs, without the seeds of their random starts."""
    return {
        key: _without_seeds(value) if isinstance(value, Mapping) else value
        for key, value in attack.items()
        if key != 'seed'
    }


def _radius(key: str) -> Callable[[Any], str]:
    is_radius = key in ('eps', 'step_size')
    return lambda value: in_255ths(value) if is_radius and isinstance(value, (int, float)) else str(value)


def _packages(documents: Mapping[str, Document]) -> list[str]:
    return list(dict.fromkeys(name for document in documents.values() for name in document.get('versions', {})))


def _version(name: str) -> Callable[[Document], Any]:
    return lambda document: document.get('versions', {}).get(name)
