"""The goals on a GPU, and whether the results meet them."""

import statistics
from typing import Any

from costs.attack_contests import LIBRARY, LOOP
from costs.numerics import PLAIN, TF32
from costs.training_steps import HALF_ASCENT

Row = dict[str, Any]
STEP_GOALS = {'SAM': 2.05, HALF_ASCENT: 1.5}
ATTACK_GOALS = [('float32', LIBRARY, 1.4), ('bfloat16', LIBRARY, 2.5), ('mixed', LIBRARY, 2.5), ('float32', LOOP, 3)]
AS_STRONG = 0.005  # share of images or pixels that may stay right in excess of the rival's


def step_goals(results: dict[str, Any]) -> list[Row]:
    """Return the goals for training steps, from the tables in float32 and TF32."""
    rows = []
    for model, entry in results.items():
        for key in (PLAIN, TF32):
            steps = entry.get(table_name('steps', key), {})
            for name, limit in STEP_GOALS.items():
                if name in steps:
                    measured = steps[name]['ratio']
                    rows.append(_row(f'{name} <= {limit:g} x SGD', f'{model}, {key}', measured, measured <= limit))
    return rows


def attack_goals(results: dict[str, Any]) -> list[Row]:
    """Return the goals for PGD-10, from the contests in float32 and TF32."""
    rows = []
    for model, entry in results.items():
        for key in (PLAIN, TF32):
            attacks = entry.get(table_name('pgd', key), {}).get('attacks', {})
            for dtype, rival, limit in ATTACK_GOALS:
                ours, theirs = attacks.get(f'samat_mm, {dtype}'), attacks.get(rival)
                if ours and theirs:
                    measured = statistics.median(ours['ratios'][rival])
                    strong = ours['accuracy'] <= theirs['accuracy'] + AS_STRONG
                    goal = f'PGD-10 on the {dtype} copy >= {limit:g} x {rival}, as strong'
                    rows.append(_row(goal, f'{model}, {key}', measured, measured >= limit and strong))
    return rows


def table_name(name: str, numerics: str) -> str:
    """Return the key of a table in the results: the bare name for plain float32."""
    return name if numerics == PLAIN else f'{name}, {numerics}'


def _row(goal: str, where: str, measured: float, met: bool) -> Row:
    return {'goal': goal, 'where': where, 'measured': round(measured, 3), 'met': met}
