"""All Python versions in the repository agree, and the tested packages support them."""

import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
SETUP = (ROOT / 'setup.py').read_text(encoding='utf-8')
LOWEST = '3.11'
TESTED = re.findall(r"'Programming Language :: Python :: (3\.\d+)'", SETUP)


def test_one_lowest_version_everywhere():
    assert f"python_requires='>={LOWEST}'" in SETUP
    assert TESTED[0] == LOWEST
    project = (ROOT / 'pyproject.toml').read_text(encoding='utf-8')
    assert f'target-version = "py{LOWEST.replace(".", "")}"' in project
    assert f'python_version = "{LOWEST}"' in project
    for page in ('README.md', 'Makefile'):
        text = (ROOT / page).read_text(encoding='utf-8')
        assert re.findall(r'Python (3\.\d+)', text) == [LOWEST], page


@pytest.mark.parametrize('version', TESTED)
def test_every_pinned_package_takes_the_version(version):
    for line in (ROOT / 'constraints.txt').read_text(encoding='utf-8').splitlines():
        name, _, pin = line.partition('==')
        if not pin or line.startswith('#'):
            continue
        try:
            found = metadata.metadata(name)
        except metadata.PackageNotFoundError:
            continue  # only needed on some systems
        if found['Version'].partition('+')[0] == pin:
            assert f'{version}.9' in SpecifierSet(found['Requires-Python'] or ''), f'{name}: {found["Requires-Python"]}'
