"""The site is built, shows notebooks with their outputs, and a broken link or anchor stops it."""

import runpy
import shutil
from pathlib import Path

import pytest

mkdocs_build = pytest.importorskip('mkdocs.commands.build')
pytest.importorskip('material')
nbformat = pytest.importorskip('nbformat')

from mkdocs.config import load_config  # noqa: E402
from mkdocs.exceptions import Abort  # noqa: E402

DOCS = Path(__file__).parents[2] / 'docs'
HOOKS = runpy.run_path(str(DOCS / 'site' / 'hooks.py'))


def build(docs: Path, site: Path) -> None:
    config = load_config(str(docs / 'site' / 'mkdocs.yml'), site_dir=str(site))
    mkdocs_build.build(config)


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv('NO_MKDOCS_2_WARNING', '1')
    return Path(shutil.copytree(DOCS, tmp_path / 'docs', ignore=shutil.ignore_patterns('__pycache__')))


def test_the_site_is_built_from_the_pages_alone(copied: Path, tmp_path: Path) -> None:
    build(copied, tmp_path / 'site')
    pages = {page.relative_to(tmp_path / 'site') for page in (tmp_path / 'site').rglob('*.html')}
    assert {Path('index.html'), Path('notebooks/first-steps.html'), Path('reference/commands.html')} <= pages
    for page in pages:
        text = (tmp_path / 'site' / page).read_text(encoding='utf-8')
        for loaded in ('<script src="http', '<link rel="stylesheet" href="http', '<img src="http', 'fonts.googleapis'):
            assert loaded not in text, f'{page} loads something from elsewhere'


@pytest.mark.parametrize('link', ['[x](nothing.md)', '[x](concepts/duality.md#nothing)', '![x](nothing.png)'])
def test_a_broken_link_stops_it(link: str, copied: Path, tmp_path: Path) -> None:
    with (copied / 'README.md').open('a', encoding='utf-8') as page:
        page.write(f'\n{link}\n')
    with pytest.raises(Abort):
        build(copied, tmp_path / 'site')


def test_a_notebook_becomes_text_code_and_outputs(tmp_path: Path) -> None:
    v4 = nbformat.v4
    outputs = [
        v4.new_output('stream', text='printed\n'),
        v4.new_output('stream', text='again\n'),
        v4.new_output('display_data', data={'text/plain': 'Figure', 'image/png': 'AAAA\n'}),
        v4.new_output('display_data', data={'text/plain': 'a line\n', 'text/html': '<pre style="x">a line</pre>'}),
        v4.new_output('execute_result', data={'text/plain': 'Report', 'text/html': '<table></table>'}),
    ]
    cells = [v4.new_markdown_cell('# Title'), v4.new_code_cell('run()', outputs=outputs), v4.new_code_cell('x = 1')]
    nbformat.write(v4.new_notebook(cells=cells), tmp_path / 'a.ipynb')
    assert HOOKS['as_markdown'](tmp_path / 'a.ipynb').split('\n\n') == [
        '# Title',
        '```python\nrun()\n```',
        '```text\nprinted\nagain\n```',
        '![output](data:image/png;base64,AAAA)',
        '```text\na line\n```',
        '<table></table>',
        '```python\nx = 1\n```\n',
    ]
