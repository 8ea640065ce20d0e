"""Every Python block in the documents runs: a program as it stands, a piece of a config by building what it names."""

import ast
import contextlib
import inspect
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import TinyClassifier
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.optim import build_optim_wrapper
from mmengine.registry import HOOKS, LOOPS, METRICS, PARAM_SCHEDULERS, VISBACKENDS, VISUALIZERS
from mmengine.utils import import_modules_from_strings
from pages import Block, blocks
from torch import nn

import samat_mm.text  # noqa: F401
from samat_mm.presets import build_attacks, listed
from samat_mm.registry import ATTACKS, WEIGHT_PERTURBATIONS
from samat_mm.reports import Report

PYTHON = blocks('python')
OPTIMIZER = dict(type='SGD', lr=0.1, momentum=0.9)  # for `optimizer=...`
REPORT = {'config': 'voc_sgd.py', 'samples': 9, 'results': {'clean': {'mIoU': 70.0}, 'pgd-linf': {'mIoU': 9.0}}}
# What an example may take for granted.
GIVEN = {
    'predict': TinyClassifier(),
    'inputs': torch.rand(2, 3, 8, 8),
    'target': torch.tensor([0, 1]),
    'reports': [Report({**REPORT, 'checkpoint': f'{seed}.pth', 'seed': 0}) for seed in range(3)],
}


def imported(block: Block) -> set[str]:
    """The packages that a block imports."""
    found = set()
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition('.')[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module).partition('.')[0])
    return found


PROGRAMS = [block for block in PYTHON if imported(block)]
PIECES = [block for block in PYTHON if not imported(block)]


@pytest.mark.parametrize('block', PROGRAMS, ids=str)
def test_a_program_runs(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = [name for name in imported(block) if find_spec(name) is None]
    if 'transformers' in imported(block) and find_spec('accelerate') is None:
        missing.append('accelerate')
    if 'WordNet' in block.text and not Path('/usr/share/wordnet').is_dir():
        missing.append('wordnet-base')
    if missing:
        pytest.skip(f'{", ".join(missing)} is not installed')
    monkeypatch.chdir(tmp_path)
    with registries_kept(), torch.random.fork_rng():
        exec(compile(block.text, str(block), 'exec'), dict(GIVEN, __name__='example'))


@contextlib.contextmanager
def registries_kept() -> Any:
    """Take out what an example registers, so that it can run again."""
    from samat_mm.perturbations.inputs.objectives import OBJECTIVES
    from samat_mm.perturbations.norms import NORMS

    tables = [ATTACKS.module_dict, WEIGHT_PERTURBATIONS.module_dict, OBJECTIVES, NORMS]
    before = [dict(table) for table in tables]
    try:
        yield
    finally:
        for table, entries in zip(tables, before, strict=True):
            table.clear()
            table.update(entries)


# ------------------------------------------------------------------------------------------- pieces of a config


def _optim_wrapper(value: dict) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    given = value.get('optimizer', ...)
    build_optim_wrapper(model, dict(value, optimizer=OPTIMIZER if given is ... else given))


def _hooks(value: Any) -> None:
    for hook in value.values() if isinstance(value, dict) else value:
        HOOKS.build(hook)


def _loop(value: dict) -> None:
    """The parameters are the loop's own; its attacks and its perturbation can be built."""
    given = dict(value)
    loop = LOOPS.get(given.pop('type'))
    given.update(runner=None, dataloader=None, **({'evaluator': None} if 'Test' in loop.__name__ else {}))
    bound: set[str] = set()
    for base in loop.__mro__[:-1]:
        if '__init__' in vars(base):
            bound |= set(inspect.signature(base.__init__).parameters)
    assert not given.keys() - bound
    attacks = [attack for attack in listed(given.get('attacks', ())) if not _from_example(attack)]
    build_attacks(attacks)


def _from_example(attack: Any) -> bool:
    return isinstance(attack, dict) and attack['type'] == 'Brighter'  # of docs/how-to/extend.md


def _visualizer(value: dict) -> None:
    assert VISUALIZERS.get(value['type']) or value['type'] in ('SegLocalVisualizer', 'UniversalVisualizer')
    assert all(VISBACKENDS.get(backend['type']) for backend in value['vis_backends'])


def _schedulers(value: list[dict]) -> None:
    assert all(PARAM_SCHEDULERS.get(entry['type']) for entry in value)


BUILDERS: dict[str, Callable[[Any], Any]] = {
    'attack': ATTACKS.build,
    'custom_hooks': _hooks,
    'custom_imports': lambda value: import_modules_from_strings(**value),
    'default_hooks': _hooks,
    'optim_wrapper': _optim_wrapper,
    'param_scheduler': _schedulers,
    'perturbation': WEIGHT_PERTURBATIONS.build,
    'test_cfg': _loop,
    'test_evaluator': lambda value: Evaluator([entry for entry in value if METRICS.get(entry['type'])]),
    'train_cfg': _loop,
    'visualizer': _visualizer,
}


@pytest.mark.parametrize('block', PIECES, ids=str)
def test_a_piece_of_a_config_can_be_built(block: Block, tmp_path: Path) -> None:
    tree = ast.parse(block.text)
    names = [statement.targets[0].id for statement in tree.body if isinstance(statement, ast.Assign)]
    if '_base_' in names:
        (tmp_path / 'config.py').write_text(block.text, encoding='utf-8')
        if "'mmdet::" in block.text and find_spec('mmdet') is None:
            pytest.skip('mmdetection is not installed')
        assert Config.fromfile(tmp_path / 'config.py').optim_wrapper.type == 'SAMOptimWrapper'
        return
    assert names and len(names) == len(tree.body), 'a piece of a config has assignments only'
    for statement, name in zip(tree.body, names, strict=True):
        value = eval(compile(ast.Expression(statement.value), str(block), 'eval'))
        BUILDERS[name](value)
