"""Read a report, and refuse what is none."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from samat_mm.errors import InputError
from samat_mm.files.access import reading
from samat_mm.visualization.document import CLEAN

NEEDED = {'config': str, 'checkpoint': str, 'samples': int, 'results': Mapping}
SECTIONS = ('evaluation', 'versions', 'provenance')
ADVICE = 'give a file that `samat-mm test --out` wrote'


def read_document(path: str | Path) -> dict[str, Any]:
    """Return the document of an evaluation from its file, whatever version wrote it.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is no report of an evaluation.
    """
    with reading(path):
        content = Path(path).read_bytes()
    try:
        document = json.loads(content, parse_constant=lambda _: None)  # old versions wrote NaN
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise InputError(f'{path} is no report, because it is not JSON ({error}); {ADVICE}.') from error
    fault = fault_of(document)
    if fault:
        raise InputError(f'{path} is no report of an evaluation: {fault}; {ADVICE}.')
    return document


def fault_of(document: Any) -> str:
    """Return why a value is no document of an evaluation, '' if it is one."""
    if not isinstance(document, Mapping):
        return 'it is not a JSON object'
    wrong = [name for name, kind in NEEDED.items() if not isinstance(document.get(name), kind)]
    if wrong:
        return f'it lacks {", ".join(wrong)}, or has another kind of it'
    results = document['results']
    if CLEAN not in results:
        return 'it has no results on clean samples'
    wrong = [name for name, values in results.items() if not isinstance(values, Mapping)]
    if wrong:
        return f'its results under {wrong[0]} are not metrics by name'
    sections = [name for name in SECTIONS if not isinstance(document.get(name, {}), Mapping)]
    return f'its {sections[0]} is of another kind' if sections else ''
