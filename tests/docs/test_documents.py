"""Links in the documents lead to files and headings, and generated pages are up to date."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob('*.md'), *ROOT.glob('docs/**/*.md')])
GENERATED = runpy.run_path(str(ROOT / 'docs' / 'generate'))['PAGES']


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """The anchors of the headings of a page, as GitHub and MkDocs make them."""
    text = re.sub(r'```.*?```', '', page.read_text(encoding='utf-8'), flags=re.DOTALL)
    headings = re.findall(r'^#+ (.*)$', text, flags=re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).strip().replace(' ', '-') for heading in headings}


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_relative_links_lead_to_files_and_headings(page: Path) -> None:
    text = page.read_text(encoding='utf-8')
    for target, anchor in re.findall(r'\]\((?!https?://)([^)#\s]*)(?:#([^)]*))?\)', text):
        aim = (page.parent / target).resolve() if target else page
        assert aim.exists(), target
        assert not anchor or anchor in anchors(aim), f'{target}#{anchor}'


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_files_named_in_the_text_exist(page: Path) -> None:
    """Paths in backticks; those with braces, stars or capitals are patterns or the reader's own."""
    named = re.findall(
        r'`(?:python )?((?:configs|benchmarks|tests|tools|docs|samat_mm)/[\w./-]+)(?![\w{*])', page.read_text('utf-8')
    )
    meant = [path for path in named if not re.search('[A-Z]|_$', path)]
    assert not [path for path in meant if not (ROOT / path.rstrip('.')).exists()]


@pytest.mark.parametrize('page', GENERATED)
def test_generated_pages_are_those_of_the_code(page: str) -> None:
    written = (ROOT / 'docs' / 'reference' / f'{page}.md').read_text(encoding='utf-8')
    assert written == GENERATED[page](), f'docs/reference/{page}.md is out of date: run python docs/generate'


def test_every_page_begins_with_its_title_and_stands_in_the_menu() -> None:
    menu = (ROOT / 'docs' / 'site' / 'mkdocs.yml').read_text(encoding='utf-8').partition('\nnav:')[2]
    listed = set(re.findall(r'^ +- .*: ([\w/-]+\.md)$', menu, flags=re.MULTILINE))
    pages = {str(page.relative_to(ROOT / 'docs')): page for page in PAGES if page.is_relative_to(ROOT / 'docs')}
    notebooks = {f'notebooks/{file.stem}.md' for file in ROOT.glob('docs/notebooks/*.ipynb')}
    assert listed == pages.keys() | notebooks
    assert all(page.read_text(encoding='utf-8').startswith('# ') for page in pages.values())
