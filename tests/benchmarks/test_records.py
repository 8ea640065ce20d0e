"""Records, goals, time in kernels, and the precision of float32 in the benchmarks."""

import importlib
import json
import math
import sys
import time
from pathlib import Path

import pytest
import torch

import samat_mm  # noqa: F401

FOLDER = Path(__file__).parents[2] / 'benchmarks'


@pytest.fixture(autouse=True, scope='module')
def on_the_path():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'path', [str(FOLDER), *sys.path])
        yield


def module(name):
    return importlib.import_module(name)


def test_a_record_is_json_whatever_is_in_it(tmp_path):
    out = tmp_path / 'new' / 'record.json'
    module('records').write_json(
        out, {'nan': math.nan, 'deep': [{'inf': -math.inf}], 'data': Path('/private/data.npz'), 3: (1, 2)}
    )
    assert json.loads(out.read_text()) == {'nan': None, 'deep': [{'inf': None}], 'data': 'data.npz', '3': [1, 2]}
    assert [path.name for path in out.parent.iterdir()] == ['record.json']


def test_a_record_that_cannot_be_written_leaves_the_old_one(tmp_path):
    out, write = tmp_path / 'record.json', module('records').write_json
    write(out, {'epoch': 1})
    with pytest.raises(TypeError):
        write(out, {'epoch': torch.ones(2)})
    assert json.loads(out.read_text()) == {'epoch': 1}


def test_deadline():
    deadline = module('records').Deadline
    assert deadline(None).left() == math.inf and deadline(None).allows(1e9)
    assert 5.9 < deadline(0.1).left() <= 6 and deadline(0.1).allows(5) and not deadline(0.1).allows(7)
    assert deadline(-1).left() < 0 and not deadline(0).allows(0.1)


def test_the_processor_is_named_with_its_instructions(monkeypatch):
    text = 'processor\t: 0\nmodel name\t: A Processor\nflags\t: avx2 avx512f amx_tile avx512_bf16x\n\nprocessor\t: 1'
    monkeypatch.setattr(Path, 'read_text', lambda self, encoding: text)
    found = module('records')._processor()
    assert found == {'name': 'A Processor', 'instructions': ['avx2', 'avx512f', 'amx_tile']}


def test_goals_are_judged_by_what_was_measured():
    goals = module('costs.goals')
    sam = {'ratio': 2.04}, {'ratio': 2.06}
    steps = {'resnet18': {'steps': {'SAM': sam[0]}, 'steps, TF32': {'SAM': sam[1]}, 'steps, bfloat16': {'SAM': sam[1]}}}
    assert [(row['where'], row['measured'], row['met']) for row in goals.step_goals(steps)] == [
        ('resnet18, float32', 2.04, True),
        ('resnet18, TF32', 2.06, False),
    ]

    def attack(accuracy, *ratios):
        return {'accuracy': accuracy, 'ratios': dict(zip(('torchattacks', "SemSegBench's loop"), ratios, strict=True))}

    rows = {
        'samat_mm, float32': attack(0.1, [1.3, 1.5, 1.6], [2.9, 2.9, 9]),
        'samat_mm, bfloat16': attack(0.2, [2.6], [4.0]),  # fast, but weaker
        'torchattacks': attack(0.1, [1.0], [1.0]),
        "SemSegBench's loop": attack(0.1, [1.0], [1.0]),
    }
    found = goals.attack_goals({'deeplabv3': {'pgd': {'attacks': rows}}, 'resnet18': {}})
    assert [(row['measured'], row['met']) for row in found] == [(1.5, True), (2.6, False), (2.9, False)]


def test_time_in_kernels_counts_overlapping_ones_once():
    covered = module('costs.kernels').covered
    assert covered([(10, 20), (15, 18), (12, 30), (40, 41)]) == pytest.approx(21e-9)
    assert covered([]) == 0


def test_float32_means_what_the_table_says():
    numerics = module('costs.numerics')
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    for name, allowed in (('float32', False), ('TF32', True)):
        with numerics.NUMERICS[name].active():
            assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == (allowed, allowed)
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == before


def test_rounds_are_as_many_as_fit():
    timing, deadline = module('costs.timing'), module('records').Deadline
    costs = timing.interleaved({'nap': lambda: time.sleep(0.05)}, 1000, 'cpu', 'naps', deadline(0.6 / 60))
    assert 3 <= len(costs['nap'].wall) <= 11 and min(costs['nap'].wall) >= 0.05
    with pytest.raises(timing.OutOfTime, match='naps: takes'):
        timing.interleaved({'nap': lambda: time.sleep(0.05)}, 3, 'cpu', 'naps', deadline(0.06 / 60))
