"""Write the pages of a table, and print it: python -m samat_mm.tables.pages OUT/table8.json"""

import argparse
import json
from pathlib import Path

from rich.console import Console

from samat_mm.tables.pages import write_pages
from samat_mm.tables.pages.terminal import as_terminal_table

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('document', type=Path, help='the JSON document of a table')
    path = parser.parse_args().document
    document = json.loads(path.read_text(encoding='utf-8'))
    written = write_pages(document, path)
    console = Console()
    console.print(as_terminal_table(document))
    for answer in document['verdict']:
        console.print(f'[bold]{answer["question"]}[/bold] {answer["sentence"]}', highlight=False)
    console.print(f'Pages: {", ".join(map(str, written))}.', highlight=False, soft_wrap=True)
