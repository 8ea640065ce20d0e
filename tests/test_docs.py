"""Links in the documents lead to files, and generated pages are up to date."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob('*.md'), *ROOT.glob('docs/*.md')])


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_relative_links_lead_to_files(page: Path) -> None:
    targets = re.findall(r'\]\((?!https?://|#)([^)#]+)', page.read_text(encoding='utf-8'))
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_files_named_in_the_text_exist(page: Path) -> None:
    """Paths in backticks; those with braces, stars or capitals are patterns or the reader's own."""
    named = re.findall(
        r'`(?:python )?((?:configs|benchmarks|tests|tools|docs|samat_mm)/[\w./-]+)(?![\w{*])', page.read_text('utf-8')
    )
    meant = [path for path in named if not re.search('[A-Z]|_$', path)]
    assert not [path for path in meant if not (ROOT / path.rstrip('.')).exists()]


@pytest.mark.parametrize('page', ['methods', 'attacks'])
def test_cards_are_those_of_the_docstrings(page: str) -> None:
    generated = runpy.run_path(str(ROOT / 'docs' / f'make_{page}.py'))['document']()
    written = (ROOT / 'docs' / f'{page}.md').read_text(encoding='utf-8')
    assert written == generated, f'docs/{page}.md is out of date: run python docs/make_{page}.py'
