"""Versions agree everywhere, the tested packages support them, and CI runs what is there on all of them."""

import os
import re
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet
from packaging.version import Version

import samat_mm

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


def test_ci_runs_what_is_there_on_every_tested_version():
    workflow = yaml.safe_load((ROOT / '.github/workflows/ci.yml').read_text(encoding='utf-8'))
    job = workflow['jobs']['test']
    assert job['strategy']['matrix']['python'] == TESTED
    assert any('${{ matrix.python }}' in str(step.get('with')) for step in job['steps'])
    commands = [step['run'] for step in job['steps'] if 'run' in step]
    assert commands == ['.ci/run']
    assert os.access(ROOT / '.ci/run', os.X_OK)
    targets = re.findall(r'^make (\S+)$', (ROOT / '.ci/run').read_text(encoding='utf-8'), re.M)
    rules = re.findall(r'^([\w-]+):', (ROOT / 'Makefile').read_text(encoding='utf-8'), re.M)
    assert {'test', 'lint'} <= set(targets) <= set(rules)


def test_the_forms_of_issues_are_complete():
    """A form without one of these is not shown."""
    forms = [path for path in (ROOT / '.github/ISSUE_TEMPLATE').glob('*.yml') if path.stem != 'config']
    for form in (yaml.safe_load(path.read_text(encoding='utf-8')) for path in forms):
        assert {'name', 'description', 'body'} <= form.keys()
        assert len({entry['id'] for entry in form['body']}) == len(form['body'])
        assert {entry['type'] for entry in form['body']} <= {'textarea', 'input'}
    assert len(forms) == 2


def test_the_changelog_has_the_version_and_known_kinds_of_change():
    text = (ROOT / 'CHANGELOG.md').read_text(encoding='utf-8')
    first, *released = re.findall(r'^## \[(.+?)\]( - \d{4}-\d\d-\d\d)?$', text, re.M)
    assert first == ('Unreleased', '')
    assert all(date for _, date in released)
    versions = [Version(version) for version, _ in released]
    assert versions == sorted(versions, reverse=True)
    assert Version(samat_mm.__version__) in versions or f'becomes {samat_mm.__version__}' in text
    kinds = set(re.findall(r'^### (.+)$', text, re.M))
    assert {'Added', 'Changed', 'Fixed'} <= kinds <= {'Added', 'Changed', 'Deprecated', 'Removed', 'Fixed', 'Security'}
