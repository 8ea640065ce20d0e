"""The order of the modules: no circular import, no import of a higher layer, no large module."""

import ast
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / 'samat_mm'
MOST_LINES = 200

# The modules and packages directly in samat_mm, from the bottom up: each imports itself and lower layers only.
LAYERS = (
    {'errors', 'version'},
    {'files', 'terminal', 'workflow'},
    {'compat', 'networks', 'perturbations'},
    {'checkpoints', 'datasets', 'model_state', 'registry', 'theory'},
    {'presets', 'replay', 'tasks', 'words'},
    {'pixels', 'sharpness'},
    {'crafting', 'visualization'},
    {'evaluation', 'tables'},
    {'reports'},
    {'engine'},
    {'text'},
    {'registration', 'runners'},
    {'api'},
    {'command_line'},
    {'__init__', '__main__'},
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


def top_level(module):
    return [*module.split('.'), '__init__'][1]


def test_no_circular_import():
    try:
        tuple(TopologicalSorter({module: ours(path) for module, path in MODULES.items()}).static_order())
    except CycleError as error:
        pytest.fail(' -> '.join(error.args[1]))


def test_everything_has_a_layer():
    assert {top_level(module) for module in MODULES} - {name for layer in LAYERS for name in layer} == set()


def test_no_import_of_a_higher_layer():
    layers = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    upwards = [
        f'{module} imports {other}'
        for module, path in MODULES.items()
        for other in ours(path)
        if top_level(other) != top_level(module) and layers[top_level(other)] >= layers[top_level(module)]
    ]
    assert upwards == []


@pytest.mark.parametrize('name', PLAIN_TORCH)
def test_the_mathematics_imports_torch_only(name):
    others = {
        f'{module} imports {other}'
        for module, path in MODULES.items()
        if top_level(module) == name
        for other in imported(path)
        if other.split('.')[0] not in {'samat_mm', *PLAIN_TORCH[name], *sys.stdlib_module_names}
    }
    assert others == set()


def test_no_module_is_large():
    files = [*MODULES.values(), *(ROOT / 'tools').glob('*.py')]
    lines = {str(path.relative_to(ROOT)): len(path.read_text(encoding='utf-8').splitlines()) for path in files}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}
