"""Write the pages of a table: python -m samat_mm.tables.pages OUT/table8.json"""

import argparse
import json
from pathlib import Path

from samat_mm.tables.pages import write_pages

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('document', type=Path, help='the JSON document of a table')
    path = parser.parse_args().document
    write_pages(json.loads(path.read_text(encoding='utf-8')), path)
