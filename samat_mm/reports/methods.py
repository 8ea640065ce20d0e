"""Which reports are of the same method, and which of the same training."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from samat_mm.errors import InputError
from samat_mm.reports.columns import with_common_names
from samat_mm.visualization.document import CLEAN, attacks_of, config_path, main_metric

Document = Mapping[str, Any]


class Tested(Protocol):
    """What is compared: the document of an evaluation, and the file that it is from, None if it has none."""

    @property
    def document(self) -> Mapping[str, Any]:
        """The document."""

    @property
    def path(self) -> Path | None:
        """The file."""


@dataclass(frozen=True)
class Method:
    """A method: its trainings, which differ in nothing but the seed.

    Attributes:
        name: its name.
        configs: the configs in the reports, one unless the reports were named alike by hand.
        checkpoints: the checkpoint of each training.
        results: the results of each training, by attack, the clean samples among them.
    """

    name: str
    configs: tuple[str, ...]
    checkpoints: tuple[str, ...]
    results: tuple[Mapping[str, Mapping[str, Any]], ...]

    def values(self, column: str, metric: str) -> list[float | None]:
        """Return a metric under an attack for each training, None where it is missing or no number."""
        return [result.get(column, {}).get(metric) for result in self.results]


def named_documents(
    reports: Iterable[Tested] | Mapping[str, Tested | Iterable[Tested]],
) -> dict[str, dict[str, Document]]:
    """Return the documents by the name of their method and of their report.

    Args:
        reports: reports, those of one config of one method; or the report or reports of each method by its name.

    Raises:
        ValueError: if there are none, or one is given twice.
    """
    named: list[tuple[str, Tested]]
    if isinstance(reports, Mapping):
        named = [(name, each) for name, given in reports.items() for each in _listed(given)]
    else:
        listed: list[Any] = list(reports)
        named = list(zip(method_names([each.document for each in listed]), listed, strict=True))
    if not named:
        raise InputError('a comparison needs at least one report; got none.')
    found: dict[str, dict[str, Document]] = {}
    labels: dict[str, tuple[str, Document]] = {}
    for number, (name, report) in enumerate(named, 1):
        label = str(report.path or f'report {number}')
        if label in labels:
            raise InputError(f'{label} is given twice; give each report once.')
        labels[label] = name, report.document
    documents = with_common_names({label: document for label, (_, document) in labels.items()})
    for label, (name, _) in labels.items():
        found.setdefault(name, {})[label] = documents[label]
    return found


def method_names(documents: Sequence[Document]) -> list[str]:
    """Return the name of the method of each report: its config, with as much of the path as tells them apart.

    Trainings of one config with other settings than its own, overridden or edited, are methods of their own.

    Example:
        >>> method_names([{'config': 'configs/voc_sgd.py'}, {'config': 'a/test.py'}, {'config': 'b/test.py'}])
        ['voc_sgd', 'a/test', 'b/test']
    """
    paths = [config_path(document).with_suffix('').parts for document in documents]
    names = [_shortest(path, set(paths)) for path in paths]
    settings: dict[str, list[Any]] = {name: [] for name in names}
    stated = [(name, training_settings(document)) for name, document in zip(names, documents, strict=True)]
    for name, digest in stated:
        if digest not in settings[name]:
            settings[name].append(digest)
    several = [name for name, known in settings.items() if len(set(known) - {None}) > 1]
    return [f'{name}, settings {settings[name].index(each) + 1}' if name in several else name for name, each in stated]


def training_settings(document: Document) -> str | None:
    """Return the digest of the settings of the training, but for the seed; None where the report does not say."""
    return (document.get('provenance', {}).get('training') or {}).get('settings')


def method_of(name: str, documents: Mapping[str, Document]) -> Method:
    """Return a method from its reports; several of one checkpoint, each under other attacks, are of one training.

    Args:
        name: its name.
        documents: the documents by the name of their report.

    Raises:
        ValueError: if a checkpoint was tested twice under the same attack: a spread over seeds needs other trainings.
    """
    trainings: dict[Any, dict[str, Any]] = {}
    sources: dict[Any, dict[str, str]] = {}
    for source, document in documents.items():
        identity = _training(document)
        found, known = trainings.setdefault(identity, {}), sources.setdefault(identity, {})
        twice = [attack for attack in attacks_of(document) if attack in found]
        if twice or (found and not attacks_of(document)):
            other = known[twice[0]] if twice else next(iter(known.values()))
            raise InputError(
                f'{name} has the checkpoint {document["checkpoint"]} twice under {twice[0] if twice else "no attack"}, '
                f'in {other} and {source}; the spread is over trainings, so give one report of each.'
            )
        found.update(document['results'])
        known.update(dict.fromkeys(document['results'], source))
    return Method(
        name,
        tuple(dict.fromkeys(document['config'] for document in documents.values())),
        tuple({_training(document): document['checkpoint'] for document in documents.values()}.values()),
        tuple(trainings.values()),
    )


def mixed_trainings(method: str, documents: Iterable[Document]) -> list[str]:
    """Return a sentence for each reason why the reports of a method differ in more than the seed of the training."""
    known = list(documents)
    configs = list(dict.fromkeys(document['config'] for document in known))
    found = [f'{method} combines the configs {", ".join(configs)}.'] if len(configs) > 1 else []
    if len({training_settings(document) for document in known} - {None}) > 1:
        found.append(f'{method} combines trainings of several settings.')
    seeds: dict[Any, set[Any]] = {}
    for document in known:
        seed = (document.get('provenance', {}).get('training') or {}).get('seed')
        if seed is not None:
            seeds.setdefault(seed, set()).add(_training(document))
    several = [str(seed) for seed, trainings in seeds.items() if len(trainings) > 1]
    if several:
        found.append(
            f'{method} has several checkpoints of the training seed {", ".join(several)}; their spread is not that '
            'between seeds.'
        )
    return found


def _listed(given: Any) -> list[Tested]:
    return [given] if hasattr(given, 'document') else list(given)


def _training(document: Document) -> Any:
    """Return what identifies a training: the digest of its weights, or else the path, if the clean result agrees."""
    weights = document.get('provenance', {}).get('checkpoint') or {}
    digest = weights.get('sha256') or weights.get('weights')
    return digest or (document['checkpoint'], document['results'][CLEAN].get(main_metric(document)))


def _shortest(path: tuple[str, ...], others: set[tuple[str, ...]]) -> str:
    lengths = range(1, len(path) + 1)
    alone = (length for length in lengths if sum(other[-length:] == path[-length:] for other in others) == 1)
    return '/'.join(path[-next(alone, len(path)) :])
