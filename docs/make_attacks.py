"""Write docs/attacks.md, one card per registered attack: python docs/make_attacks.py

What an attack does, its parameters and source come from its docstring, defaults from its signature, presets from
configs/_base_/attacks/.
"""

import sys
from pathlib import Path

from samat_mm.perturbations.inputs import ATTACK_TYPES, Attack, ClassificationAttack, ScaledLogits
from samat_mm.perturbations.inputs.objectives import OBJECTIVES, PixelObjective
from samat_mm.perturbations.inputs.objectives.pixelwise import PIXEL_LOSSES
from samat_mm.presets import presets

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))
from cards import Card  # noqa: E402

HEAD = """# Attacks

Generated from the docstrings by `python docs/make_attacks.py`. Every attack is a config for `AdversarialTrainingHook`
and `AttackEvaluationHook`, and `ATTACKS.build(config)` makes it for plain torch: `attack(predict, inputs, target)`.
Radii and step sizes are in [0, 1] pixel units. A preset is what `tools/test.py --attack NAME` runs; `--eps`, `--steps`,
`--step-size`, `--restarts`, `--queries` and `--seed` change it.

| attack | for | presets |
|---|---|---|
"""


# What a config has to give.
REQUIRED = {'ScaledLogits': ", attack=dict(type='PGD', norm='linf', eps='8/255'), confidence=0.9"}


def task_of(attack: type[Attack]) -> str:
    """Return which models an attack is for."""
    if issubclass(attack, ScaledLogits):
        return 'the models of its attack'
    if issubclass(attack, ClassificationAttack):
        return 'classifiers'
    return 'segmentors' if isinstance(attack().objective, PixelObjective) else 'both, or any training loss'


def objectives() -> str:
    """Return a section on the losses that PGD and APGD can drive up."""
    rows = ''
    for name, objective in OBJECTIVES.items():
        card = Card(PIXEL_LOSSES.get(name, type(objective)))
        rows += f'| `{name}` | {card.text.strip().partition(chr(10))[0]} | {card.source} |\n'
    return f'## Objectives\n\n| `objective` of PGD and APGD | what it is | source |\n|---|---|---|\n{rows}\n'


def document() -> str:
    """Return the whole page."""
    known = presets()
    table, cards = '', ''
    for attack in ATTACK_TYPES:
        name = attack.__name__
        named = [preset for preset, entry in known.items() if entry['attack']['type'] == name]
        table += f'| [{name}](#{name.lower()}) | {task_of(attack)} | {", ".join(f"`{preset}`" for preset in named)} |\n'
        sources = ''.join(f'\n- `{preset}`: {known[preset]["source"]}' for preset in named)
        cards += Card(attack).write(
            f"attack = dict(type='{name}'{REQUIRED.get(name, '')}", f'Presets:\n{sources}' if named else ''
        )
    return HEAD + table + '\n' + cards + objectives()


if __name__ == '__main__':
    (DOCS / 'attacks.md').write_text(document(), encoding='utf-8')
