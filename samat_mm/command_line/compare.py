"""Compare methods by the reports of their tests: samat-mm compare sgd=a.json sgd=b.json sam=c.json --out page.html

Reports of one name, by default of one config, are trainings of one method, whose mean and spread are shown. Reports
that were not measured alike are refused. The suffix of --out selects the format: .html, .tex, .csv or .json.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from samat_mm.reports import Report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        'reports', nargs='+', metavar='[NAME=]FILE.json', help='a report of the command test, and its method'
    )
    parser.add_argument(
        '--out', action='append', default=[], metavar='FILE', help='write the comparison; may be repeated'
    )


def run(args: argparse.Namespace) -> None:
    """Read the reports, compare them, print the table and write the files.

    Raises:
        ValueError: if a report is none, the reports cannot be compared, or a file does not fit.
        OSError: if a file cannot be read or written.
    """
    from rich.console import Console

    from samat_mm.reports import Comparison
    from samat_mm.reports.formats import refuse_format
    from samat_mm.reports.text import as_terminal_table

    given = [_split(text) for text in args.reports]
    for out in args.out:
        refuse_format(out)
        _refuse_input(out, [path for _, path in given])
    comparison = Comparison.of(_by_method(given))
    Console(highlight=False).print(as_terminal_table(comparison.as_document()))
    for out in args.out:
        comparison.save(out)
    if args.out:
        print(f'Comparison: {", ".join(args.out)}.')


def _split(text: str) -> tuple[str, str]:
    """Return the name, '' for none, and the path; the path itself may have a '=' in it."""
    name, sign, path = text.partition('=')
    return (name, path) if sign and not Path(text).is_file() else ('', text)


def _by_method(given: list[tuple[str, str]]) -> 'dict[str, list[Report]]':
    """Return the reports by the name of their method, which is that of their config where none is given."""
    from samat_mm.reports import Report
    from samat_mm.reports.methods import method_names

    reports = [Report.load(path) for _, path in given]
    defaults = method_names([report.document for report in reports])
    found: dict[str, list[Report]] = {}
    for (name, _), default, report in zip(given, defaults, reports, strict=True):
        found.setdefault(name or default, []).append(report)
    return found


def _refuse_input(out: str, paths: list[str]) -> None:
    from samat_mm.errors import InputError

    if any(Path(out).resolve() == Path(path).resolve() for path in paths):
        raise InputError(f'--out {out} would overwrite a report; give another name.')
