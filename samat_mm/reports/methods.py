"""Which reports are of the same method, and which of the same training."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Protocol

from samat_mm.errors import InputError
from samat_mm.visualization.document import CLEAN, attacks_of, main_metric

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
    labels: set[str] = set()
    for number, (name, report) in enumerate(named, 1):
        label = str(report.path or f'report {number}')
        if label in labels:
            raise InputError(f'{label} is given twice; give each report once.')
        labels.add(label)
        found.setdefault(name, {})[label] = report.document
    return found


def method_names(documents: Sequence[Document]) -> list[str]:
    """Return the name of the method of each report: its config, with as much of the path as tells them apart.

    Example:
        >>> method_names([{'config': 'configs/voc_sgd.py'}, {'config': 'a/test.py'}, {'config': 'b/test.py'}])
        ['voc_sgd', 'a/test', 'b/test']
    """
    paths = [PurePath(document['config']).with_suffix('').parts for document in documents]
    return [_shortest(path, set(paths)) for path in paths]


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


def mixed_configs(methods: Iterable[Method]) -> list[str]:
    """Return a sentence for each method whose reports are of several configs."""
    return [f'{each.name} combines the configs {", ".join(each.configs)}.' for each in methods if len(each.configs) > 1]


def attack_parameters(documents: Iterable[Document]) -> dict[str, Mapping[str, Any]]:
    """Return the parameters of each attack by name, in the order in which the attacks first occur."""
    found: dict[str, Mapping[str, Any]] = {}
    for document in documents:
        for name, values in attacks_of(document).items():
            found[name] = found.get(name) or values.get('attack') or {}
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
