"""Under which attacks reports have results, by names that they have in common."""

from collections.abc import Iterable, Mapping
from typing import Any

from samat_mm.visualization.document import attacks_of, family_of

Document = Mapping[str, Any]


def with_common_names(documents: Mapping[str, Document]) -> dict[str, Document]:
    """Return documents in which an attack at one radius has one name.

    A test of one radius calls it 'pgd-linf', a test of several 'pgd-linf@4/255'.

    Args:
        documents: the documents by the name of their report.
    """
    at_radius = {
        (family_of(name), attack['eps']): name
        for document in documents.values()
        for name, attack in attack_parameters([document]).items()
        if '@' in name and 'eps' in attack
    }
    return {label: _renamed(document, at_radius) for label, document in documents.items()}


def attack_parameters(documents: Iterable[Document]) -> dict[str, Mapping[str, Any]]:
    """Return the parameters of each attack by name, in the order in which the attacks first occur."""
    found: dict[str, Mapping[str, Any]] = {}
    for document in documents:
        for name, values in attacks_of(document).items():
            found[name] = found.get(name) or values.get('attack') or {}
    return found


def _renamed(document: Document, at_radius: Mapping[tuple[str, Any], str]) -> Document:
    attacks = attack_parameters([document])
    names = {name: at_radius.get((name, attack.get('eps')), name) for name, attack in attacks.items()}
    results = {
        names.get(name, name) if names.get(name) not in attacks else name: values
        for name, values in document['results'].items()
    }
    return {**document, 'results': results}
