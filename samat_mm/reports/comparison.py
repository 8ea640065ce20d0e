"""The comparison of methods by their reports: methods by attacks, mean and spread over trainings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from samat_mm.reports.agreement import details, failed_checks, other_settings, refuse_disagreement
from samat_mm.reports.columns import attack_parameters
from samat_mm.reports.formats import csv_of, refuse_format, to_frame, write
from samat_mm.reports.methods import Method, Tested, method_of, mixed_trainings, named_documents
from samat_mm.reports.text import as_latex
from samat_mm.tables.statistics import separated, summary_of
from samat_mm.visualization.document import CLEAN, MAIN_METRICS, main_metric, title_of, units

DIGITS = 4  # decimals of means and spreads


@dataclass(frozen=True, repr=False)
class Comparison:
    """Methods by attacks, with mean and spread over the trainings of a method.

    Attributes:
        metric: the metric that is compared.
        samples: number of samples that were tested.
        units: what they are, in the plural.
        attacks: by name of a column, the parameters of its attack; the first is 'clean' and has none.
        methods: the methods, in the order in which they were given.
        remarks: in which details the evaluations differ, a sentence each.

    Example:
        >>> from samat_mm.reports import Report
        >>> def report(config, number, natural, robust):
        ...     results = {'clean': {'mIoU': natural}, 'pgd-linf': {'mIoU': robust, 'attack': {'eps': 1 / 255}}}
        ...     return Report({'config': config, 'checkpoint': f'{number}.pth', 'samples': 9, 'results': results})
        >>> comparison = Comparison.of([report('sgd.py', 0, 70, 10), report('sgd.py', 1, 72, 12)])
        >>> comparison.cell('sgd', 'pgd-linf')
        {'mean': 11, 'std': 1.4142, 'n': 2}
    """

    metric: str
    samples: int
    units: str
    attacks: Mapping[str, Mapping[str, Any]]
    methods: tuple[Method, ...]
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(cls, reports: Iterable[Tested] | Mapping[str, Tested | Iterable[Tested]]) -> Comparison:
        """Compare reports.

        Args:
            reports: the reports; those of one config are trainings of one method. Or the report or reports of each
                method by its name.

        Raises:
            ValueError: if there are none, their numbers do not belong in one table, or one checkpoint is in it twice.
        """
        named = named_documents(reports)
        documents = {label: document for by_label in named.values() for label, document in by_label.items()}
        refuse_disagreement(documents)
        first = next(iter(documents.values()))
        methods = tuple(method_of(name, by_label) for name, by_label in named.items())
        mixed = [each for name, by_label in named.items() for each in mixed_trainings(name, by_label.values())]
        settings = [each for name, by_label in named.items() for each in other_settings(name, by_label)]
        return cls(
            metric=main_metric(first),
            samples=first['samples'],
            units=units(first),
            attacks={CLEAN: {}, **attack_parameters(documents.values())},
            methods=methods,
            remarks=(*mixed, *settings, *failed_checks(documents), *details(documents)),
        )

    @property
    def columns(self) -> dict[str, str]:
        """The titles of the columns by their names: 'clean', 'pgd-linf, 1/255'."""
        return {name: title_of(name, attack) for name, attack in self.attacks.items()}

    @cached_property
    def cells(self) -> dict[str, dict[str, dict[str, Any]]]:
        """By method and column, the ``mean``, the sample standard deviation ``std`` and the number ``n`` of trainings.

        Mean and deviation are None where there are too few.
        """
        return {
            method.name: {name: summary_of(method.values(name, self.metric), DIGITS) for name in self.attacks}
            for method in self.methods
        }

    def cell(self, method: str, column: str) -> dict[str, Any]:
        """Return the mean, the deviation and the number of trainings of a method under an attack."""
        return self.cells[method][column]

    def best(self, column: str) -> str | None:
        """Return the method that is the best in a column, None unless its mean stands out.

        The mean minus its deviation must be above every other mean plus its deviation, each over at least two
        trainings; and the metric must be one of which more is better.
        """
        cells = {method.name: self.cells[method.name][column] for method in self.methods}
        known = {name: cell for name, cell in cells.items() if cell['mean'] is not None}
        if self.metric not in MAIN_METRICS or len(known) < 2:
            return None
        winner = max(known, key=lambda name: known[name]['mean'])
        others = [cell for name, cell in known.items() if name != winner]
        return winner if all(separated(known[winner], other) for other in others) else None

    def rows(self) -> list[dict[str, Any]]:
        """Return a dictionary for each method and attack: the radius, the mean, the deviation and their number."""
        return [
            {
                'method': method.name,
                'attack': name,
                'norm': attack.get('norm'),
                'eps': attack.get('eps'),
                'metric': self.metric,
                **self.cells[method.name][name],
            }
            for method in self.methods
            for name, attack in self.attacks.items()
        ]

    def to_frame(self) -> Any:
        """Return the rows as a ``pandas.DataFrame``.

        Raises:
            ImportError: if pandas is not installed.
        """
        return to_frame(self.rows())

    def as_document(self) -> dict[str, Any]:
        """Return everything that its pages show, in JSON's types."""
        methods = [
            {
                'name': method.name,
                'trainings': len(method.results),
                'configs': list(method.configs),
                'checkpoints': list(method.checkpoints),
                'values': {name: method.values(name, self.metric) for name in self.attacks},
                'cells': self.cells[method.name],
            }
            for method in self.methods
        ]
        return {
            'metric': self.metric,
            'samples': self.samples,
            'units': self.units,
            'columns': self.columns,
            'attacks': {name: dict(attack) for name, attack in self.attacks.items()},
            'methods': methods,
            'best': {name: self.best(name) for name in self.attacks},
            'remarks': list(self.remarks),
        }

    def __repr__(self) -> str:
        methods = ', '.join(method.name for method in self.methods)
        return f'Comparison({self.metric} on {self.samples} {self.units} of {methods} under {", ".join(self.attacks)})'

    def _repr_html_(self) -> str:
        from samat_mm.reports.html import table_html

        return table_html(self.as_document())

    def save(self, path: str | Path) -> None:
        """Write the comparison; the suffix selects the format: .json, .html, .tex or .csv.

        Raises:
            ValueError: if the suffix is another one.
            OSError: if the file cannot be written.
        """
        refuse_format(path)
        suffix = Path(path).suffix.lower()
        if suffix == '.csv':
            text = csv_of(self.rows())
        elif suffix == '.json':
            text = json.dumps(self.as_document(), indent=2) + '\n'
        elif suffix == '.tex':
            text = as_latex(self.as_document())
        else:
            from samat_mm.reports.html import as_html

            text = as_html(self.as_document())
        write(path, text)
