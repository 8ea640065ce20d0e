"""How the modules of the package hang together: no circle, no import upwards, nothing large."""

import ast
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / 'samat_mm'
MOST_LINES = 200

# A room is a module or a package of samat_mm. It imports itself and rooms of lower floors.
FLOORS = (
    {'errors'},
    {'compat', 'files', 'networks', 'perturbations'},
    {'checkpoints', 'datasets', 'model_state', 'registry'},
    {'presets', 'replay', 'tasks'},
    {'pixels', 'sharpness'},
    {'crafting', 'visualization'},
    {'evaluation'},
    {'engine'},
    {'command_line', 'registration'},
    {'__init__'},
)
PLAIN_TORCH = {'errors': set(), 'perturbations': {'torch', 'numpy', 'torchattacks'}}


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


MODULES = {module_of(path): path for path in sorted(PACKAGE.rglob('*.py'))}


@cache
def imported(path):
    """Return the full names that a file imports, at its top or within a function."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path} imports relatively'
            full = {f'{node.module}.{alias.name}' for alias in node.names}
            names |= {name if name in MODULES else node.module for name in full}
    return names


def ours(path):
    return {name for name in imported(path) if name in MODULES}


def room(module):
    return [*module.split('.'), '__init__'][1]


def test_no_circle():
    try:
        tuple(TopologicalSorter({module: ours(path) for module, path in MODULES.items()}).static_order())
    except CycleError as error:
        pytest.fail(' -> '.join(error.args[1]))


def test_every_room_has_a_floor():
    assert sorted(name for floor in FLOORS for name in floor) == sorted({room(module) for module in MODULES})


def test_no_import_upwards():
    floors = {name: number for number, floor in enumerate(FLOORS) for name in floor}
    upwards = [
        f'{module} imports {other}'
        for module, path in MODULES.items()
        for other in ours(path)
        if room(other) != room(module) and floors[room(other)] >= floors[room(module)]
    ]
    assert upwards == []


@pytest.mark.parametrize('name', PLAIN_TORCH)
def test_the_mathematics_imports_torch_only(name):
    others = {
        f'{module} imports {other}'
        for module, path in MODULES.items()
        if room(module) == name
        for other in imported(path)
        if other.split('.')[0] not in {'samat_mm', *PLAIN_TORCH[name], *sys.stdlib_module_names}
    }
    assert others == set()


def test_nothing_is_large():
    files = [*MODULES.values(), *(ROOT / 'tools').glob('*.py')]
    lines = {str(path.relative_to(ROOT)): len(path.read_text(encoding='utf-8').splitlines()) for path in files}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}
