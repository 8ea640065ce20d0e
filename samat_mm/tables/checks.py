"""Mistakes in the file of a table, found before anything is trained."""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from samat_mm.errors import InputError
from samat_mm.perturbations.inputs import Attack
from samat_mm.registry import ATTACKS
from samat_mm.tables.methods import METHODS
from samat_mm.tables.table import EXAMINATIONS, SANITY, Table
from samat_mm.tables.verdict.questions import QUESTIONS

ROLES = ('reference', 'claim', 'yardstick', 'attack')
RESERVED = ('train', 'natural', *EXAMINATIONS)  # names of files next to those of the attacks


def check_table(table: Table) -> None:
    """Refuse a table that cannot be computed, or would say something else than it seems to.

    Raises:
        ValueError: with the mistake.
    """
    keys = [row.key for row in table.rows]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if not keys or twice:
        what = f'has {", ".join(twice)} more than once' if twice else 'has none'
        raise InputError(f'{table.name} needs rows with different names, and {what}; add model= to tell rows apart.')
    _known(table, 'methods of the budget', table.budget.methods, METHODS)
    _known(table, 'surrogates', table.surrogates.keys(), table.attacks)
    _known(table, 'surrogates', table.surrogates.values(), keys)
    _known(table, 'labels', table.labels.keys(), table.attacks)
    _known(table, 'column_metrics', table.column_metrics.keys(), table.columns)
    _known(table, 'examinations', table.examinations, EXAMINATIONS)
    reserved = [name for name in table.attacks if name in RESERVED]
    if reserved:
        raise InputError(f'an attack of {table.name} cannot be called {reserved[0]!r}; choose another name.')
    for name, config in table.attacks.items():
        _check_radius(table, name, config)
    if table.questions or SANITY in table.examinations:
        _check_roles(table, keys)
    for question in table.questions:
        _check_question(table, dict(question))


def _check_roles(table: Table, keys: list[str]) -> None:
    if set(table.roles) != set(ROLES):
        raise InputError(f'roles of {table.name} must be {", ".join(ROLES)}; got {", ".join(table.roles) or "none"}.')
    _known(table, 'roles', (table.roles['reference'], table.roles['yardstick']), keys)
    _known(table, 'roles', (table.roles['claim'],), [row.settings['method'] for row in table.rows])
    _known(table, 'roles', (table.roles['attack'],), table.attacks)


def _check_question(table: Table, question: dict[str, Any]) -> None:
    ask = question.pop('ask', None)
    if ask not in QUESTIONS:
        raise InputError(f'{table.name} asks {ask!r}; the known questions are {", ".join(QUESTIONS)}.')
    _, *settings = inspect.signature(QUESTIONS[ask].answer).parameters
    if set(question) != set(settings):
        raise InputError(
            f'question {ask} of {table.name} takes {", ".join(settings) or "no settings"}; '
            f'got {", ".join(question) or "none"}.'
        )
    for named in question.values():
        _known(table, f'question {ask}', [named] if isinstance(named, str) else named, table.attacks)


def _check_radius(table: Table, name: str, config: Mapping[str, Any]) -> None:
    """Refuse an attack whose radius would not be scaled, because it is not written out."""
    if not table.budget.attack_radii or 'attack' in config:
        return
    attack = ATTACKS.build({key: value for key, value in config.items() if key != 'name'})
    if not isinstance(attack, Attack):
        return  # an attack on words has no radius
    if attack.norm in table.budget.attack_radii and attack.eps is not None and not {'norm', 'eps'} <= config.keys():
        raise InputError(
            f'attack {name} of {table.name} must state its norm and eps, which budget {table.budget.name} scales; '
            f'got {dict(config)}.'
        )


def _known(table: Table, what: str, named: Iterable[str], known: Iterable[str]) -> None:
    known = list(dict.fromkeys(known))
    unknown = [name for name in named if name not in known]
    if unknown:
        raise InputError(f'{what} of {table.name}: {unknown[0]!r} is unknown; the known ones are {", ".join(known)}.')
