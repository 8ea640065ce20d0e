"""The report of an evaluation as a value."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samat_mm.reports.comparison import Comparison
from samat_mm.reports.formats import refuse_format, to_frame, write
from samat_mm.reports.reading import read_document
from samat_mm.visualization.document import CLEAN, RESERVED, attacks_of, config_path, has_metric, is_number

if TYPE_CHECKING:
    from samat_mm.evaluation.evaluation_result import EvaluationResult

COST = ('forwards', 'backwards', 'seconds')


@dataclass(frozen=True, repr=False)
class Report:
    """The report of an evaluation of one model, clean and under attacks.

    Attributes:
        document: the document that the command ``test --out`` writes.
        result: the result with the scores of every image; None for a report that was loaded.
        pictures: pictures of images under attack, which the page shows.
        path: the file that it was loaded from.

    Example:
        >>> report = Report({'config': 'voc_sam.py', 'checkpoint': 'a.pth', 'seed': 0, 'samples': 9, 'results': {
        ...     'clean': {'mIoU': 74.5}, 'pgd-linf': {'mIoU': 12.25, 'attack': {'norm': 'linf', 'eps': 1 / 255}}}})
        >>> report
        Report(voc_sam: mIoU 74.50 on 9 clean images, 12.25 under pgd-linf.)
        >>> report.metrics
        {'mIoU': 74.5, 'pgd-linf/mIoU': 12.25}
    """

    document: Mapping[str, Any]
    result: EvaluationResult | None = field(default=None, compare=False)
    pictures: Sequence[Path] = field(default=(), compare=False)
    path: Path | None = field(default=None, compare=False)

    @classmethod
    def load(cls, path: str | Path) -> Report:
        """Return a report from the JSON file that the command ``test --out`` or :meth:`save` wrote.

        Raises:
            OSError: if the file cannot be read.
            ValueError: if it is no report of an evaluation.
        """
        return cls(read_document(path), path=Path(path))

    @property
    def name(self) -> str:
        """The name of the config without its folder and suffix."""
        return config_path(self.document).stem

    @property
    def metrics(self) -> dict[str, Any]:
        """The metrics as MMEngine names them: 'mIoU' of the clean images, 'pgd-linf/mIoU' of those under an attack."""
        return {
            key if name == CLEAN else f'{name}/{key}': value
            for name, values in self.document['results'].items()
            for key, value in _metrics(values).items()
        }

    @property
    def has_numbers(self) -> bool:
        """Whether any metric gave a number, without which there is no page, table or comparison."""
        return has_metric(self.document)

    def rows(self) -> list[dict[str, Any]]:
        """Return a dictionary for each attack and radius, clean images first: the radius, the metrics and the cost.

        All have the same keys; what a row does not have is None.
        """
        results = {CLEAN: self.document['results'][CLEAN], **attacks_of(self.document)}
        names = dict.fromkeys(key for values in results.values() for key in _numbers(values))
        spent = [key for key in COST if any(key in values for values in results.values())]
        return [
            {
                'attack': name,
                **{key: (values.get('attack') or {}).get(key) for key in ('norm', 'eps', 'steps')},
                **{key: _numbers(values).get(key) for key in names},
                **{key: values.get(key) for key in spent},
            }
            for name, values in results.items()
        ]

    def to_frame(self) -> Any:
        """Return the rows as a ``pandas.DataFrame``.

        Raises:
            ImportError: if pandas is not installed.
        """
        return to_frame(self.rows())

    def save(self, path: str | Path) -> None:
        """Write the report; the suffix selects the format: .json, .html, .tex or .csv.

        The LaTeX and CSV files are those of a :class:`Comparison` of this one report.

        Raises:
            ValueError: if the suffix is another one, or the page would have no number to show.
            OSError: if the file cannot be written.
        """
        refuse_format(path)
        suffix = Path(path).suffix.lower()
        if suffix == '.json':
            write(path, json.dumps(self.document, indent=2) + '\n')
        elif suffix == '.html':
            from samat_mm.visualization.html_report import write_html

            write_html(self.document, path, self.pictures)
        else:
            Comparison.of([self]).save(path)

    def __repr__(self) -> str:
        from samat_mm.visualization.report_texts import summary

        return f'Report({self.name}: {summary(self.document) if has_metric(self.document) else "no metrics"})'

    def _repr_html_(self) -> str:
        from samat_mm.visualization.html_report import results_html

        return results_html(self.document)


def _metrics(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics among the results under an attack, by the names that they had before they got into it."""
    return {key.removeprefix('metric/'): value for key, value in values.items() if key not in RESERVED}


def _numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in _metrics(values).items() if value is None or is_number(value)}
