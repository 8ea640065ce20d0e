"""docs/reference/attacks.md: one card per registered attack.

What an attack does, its parameters and source come from its docstring, defaults from its signature, presets from
configs/_base_/attacks/.
"""

from cards import Card
from docstrings import Docstring

from samat_mm.perturbations.inputs import ATTACK_TYPES, Attack, ClassificationAttack, ScaledLogits
from samat_mm.perturbations.inputs.objectives import OBJECTIVES, PixelObjective
from samat_mm.perturbations.inputs.objectives.pixelwise import PIXEL_LOSSES
from samat_mm.presets import presets

HEAD = """# Attacks

A card for each attack: what it does, its parameters, its source. Every attack is a config for `AdversarialTrainingHook`
and `AttackEvaluationHook`, and `ATTACKS.build(config)` makes it for plain torch: `attack(predict, inputs, target)`.
Radii and step sizes are in [0, 1] pixel units. A preset is what `samat-mm test --attack NAME` runs; `--eps`, `--steps`,
`--step-size`, `--restarts`, `--queries` and `--seed` change it. Generated from the docstrings by
`python docs/generate`.

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
        said = Docstring(PIXEL_LOSSES.get(name, type(objective)))
        rows += f'| `{name}` | {said.text.partition(chr(10))[0]} | {said.source} |\n'
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
