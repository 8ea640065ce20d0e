"""Rows that are compared seed by seed: plain training, SAM, and adversarial training."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from samat_mm.perturbations.units import parse_radius
from samat_mm.tables.evidence import Evidence
from samat_mm.tables.statistics import Values, differences, summary_of
from samat_mm.tables.table import Row, Table
from samat_mm.tables.verdict.answer import Answer

Read = Callable[[Evidence], float | None]


@dataclass(frozen=True)
class Comparison:
    """The rows of a table, and the one whose gain over another is in question.

    Attributes:
        table: The table.
        found: By the key of a row and by seed, what is known about the training.
        reference: The row of plain training.
        claim: The row of SAM with the largest gain over it under the table's usual attack.
        yardstick: The row of adversarial training with which the gain is compared.
    """

    table: Table
    found: Mapping[str, Mapping[int, Evidence]]
    reference: Row
    claim: Row
    yardstick: Row

    def values(self, row: Row, read: Read) -> Values:
        """Return a number of each training of a row, by seed."""
        return {seed: read(evidence) for seed, evidence in self.found.get(row.key, {}).items()}

    def gains(self, read: Read, row: Row | None = None) -> list[float]:
        """Return by how much a row, by default the claim's, exceeds the reference, seed by seed."""
        return differences(self.values(row or self.claim, read), self.values(self.reference, read))

    def mean(self, row: Row, read: Read) -> float | None:
        """Return the mean of a number over the seeds, None if no seed has it."""
        known = [value for value in self.values(row, read).values() if value is not None]
        return statistics.mean(known) if known else None

    def table_of(self, reads: Sequence[Read], digits: int = 2) -> tuple[tuple[str, tuple[dict[str, Any], ...]], ...]:
        """Return mean and spread of several numbers for every row of the table."""
        return tuple(
            (row.name, tuple(summary_of(list(self.values(row, read).values()), digits) for read in reads))
            for row in self.table.rows
        )

    def metric(self, attack: str) -> Read:
        """Return what reads the table's metric under an attack."""
        return entry(attack, self.table.metric)

    def label(self, attack: str) -> str:
        """Return how an attack is called."""
        return self.table.labels.get(attack, attack)

    def size(self, attack: str) -> float:
        """Return the radius of an attack."""
        return parse_radius(self._innermost(attack)['eps'], 'eps')

    def radius(self, attack: str) -> str:
        """Return the norm and the radius of an attack, 'linf 0.05' or 'linf 1/255'."""
        config = self._innermost(attack)
        eps = config['eps']
        return f'{config["norm"]} {eps:.3g}' if isinstance(eps, float) else f'{config["norm"]} {eps}'

    def _innermost(self, attack: str) -> Mapping[str, Any]:
        config: Mapping[str, Any] = self.table.attack_config(attack)
        return config.get('attack', config)


def entry(attack: str, key: str) -> Read:
    """Return what reads an entry of the results under an attack."""
    return lambda evidence: evidence.results.get(attack, {}).get(key)


def answered(verdict: str, sentence: str, found: Comparison, columns: Mapping[str, Read], digits: int = 2) -> Answer:
    """Return an answer with the numbers of all rows."""
    return Answer(verdict, f'{sentence}.', tuple(columns), found.table_of(list(columns.values()), digits))


def comparison_of(table: Table, found: Mapping[str, Mapping[int, Evidence]]) -> Comparison | None:
    """Return the comparison that a table asks for; None as long as its rows have no results."""
    roles = table.roles
    reference, yardstick = (table.row_or_none(roles[name]) for name in ('reference', 'yardstick'))
    candidates = [row for row in table.rows if row.settings['method'] == roles['claim'] and row.key in found]
    if reference is None or yardstick is None or reference.key not in found or not candidates:
        return None
    trial = Comparison(table, found, reference, candidates[0], yardstick)
    read = trial.metric(roles['attack'])
    means = {row.key: trial.gains(read, row) for row in candidates}
    return Comparison(
        table, found, reference, max(candidates, key=lambda row: statistics.mean(means[row.key] or [-1e9])), yardstick
    )
