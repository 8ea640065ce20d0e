"""Write the generated pages of docs/reference: python docs/generate"""

import logging
from collections.abc import Callable
from pathlib import Path

import attacks
import commands
import methods
import parts
import python

import configs

REFERENCE = Path(__file__).parents[1] / 'reference'
PAGES: dict[str, Callable[[], str]] = {
    'methods': methods.document,
    'attacks': attacks.document,
    'commands': commands.document,
    'configs': configs.document,
    'python': python.document,
    **{page.name: (lambda page=page: parts.document(page)) for page in parts.PAGES},
}

if __name__ == '__main__':
    logging.disable(logging.INFO)  # of the wrappers that are built
    for name, document in PAGES.items():
        (REFERENCE / f'{name}.md').write_text(document(), encoding='utf-8')
