"""Every part that samat_mm registers, and every parameter of its constructor, is on a page of the reference."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import mmengine.registry
import pytest
from mmengine.registry import Registry

import samat_mm
from samat_mm import registry

REFERENCE = Path(__file__).parents[2] / 'docs' / 'reference'
PAGES = {page.stem: page.read_text(encoding='utf-8') for page in REFERENCE.glob('*.md')}


def load_everything() -> None:
    """Import every module, so that nothing can be registered unseen."""
    for module in pkgutil.walk_packages(samat_mm.__path__, 'samat_mm.'):
        if not module.name.startswith(('samat_mm.configs', 'samat_mm.__main__')):
            importlib.import_module(module.name)


def parts() -> dict[str, object]:
    load_everything()
    known = [*vars(mmengine.registry).values(), *vars(registry).values()]
    return {
        name: part
        for one in known
        if isinstance(one, Registry)
        for name, part in one.module_dict.items()
        if part.__module__.startswith('samat_mm.') and not part.__name__.startswith('_')  # refuses a former name
    }


def sections() -> dict[str, str]:
    """The text below each heading of the second level, by heading."""
    found = {}
    for page in PAGES.values():
        for heading, text in re.findall(r'^## (\w+)\n(.*?)(?=^## |\Z)', page, flags=re.MULTILINE | re.DOTALL):
            found[heading] = found.get(heading, '') + text
    return found


SECTIONS = sections()
PARTS = parts()


def rows(name: str) -> set[str]:
    """The parameters in the table of a section, and in those of the sections that its last line names."""
    own = set(re.findall(r'^\| `\**(\w+)`', SECTIONS[name], flags=re.MULTILINE))
    further = re.findall(r'arameters: (.*)\.$', SECTIONS[name], flags=re.MULTILINE)
    linked = [rows(base) for line in further for base in re.findall(r'\[(\w+)\]', line)]
    passed = {parameter for line in further for parameter in re.findall(r'`(\w+)`', line)}
    return own.union(passed, *linked)


def accepted(part: object) -> set[str]:
    """The named parameters that a part accepts, up to the first constructor that takes no others."""
    names: set[str] = set()
    constructors = [vars(base)['__init__'] for base in getattr(part, '__mro__', ()) if '__init__' in vars(base)]
    for constructor in constructors or [part]:
        found = inspect.signature(constructor).parameters.values()
        names |= {one.name for one in found if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)}
        if all(one.kind != one.VAR_KEYWORD for one in found):
            break
    return names - {'self'}


@pytest.mark.parametrize('name', PARTS)
def test_every_parameter_is_on_a_page(name: str) -> None:
    assert name in SECTIONS, f'{name} is on no page of docs/reference: run python docs/generate'
    assert not accepted(PARTS[name]) - rows(name)


def test_what_the_issue_missed_is_there() -> None:
    assert {'sync_ascent', 'same_dropout', 'interval', 'start_iter'} <= rows('AmpESAMOptimWrapper')
    assert {'loss_scale', 'dtype', 'accumulative_counts'} <= rows('AmpESAMOptimWrapper')
    assert {'NonFiniteGuardHook', 'ReproducibleResumeHook', 'TrainingSummaryHook'} <= SECTIONS.keys()
    assert len(PARTS) > 60
