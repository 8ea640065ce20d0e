"""Reference pages of everything that samat_mm registers in MMEngine's registries: what it is, and its parameters."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from docstrings import Docstring
from mmengine import registry as mmengine_registries
from mmengine.registry import Registry

import samat_mm.registration
import samat_mm.text
import samat_mm.words  # noqa: F401  (registers its parts)
from samat_mm.registry import ATTACKS, SUBSTITUTIONS, WEIGHT_PERTURBATIONS

OURS = 'samat_mm.'
TEXT = ('samat_mm.text', 'samat_mm.words')
CARDS = ('attack', 'weight perturbation')  # registries with pages of their own


@dataclass(frozen=True)
class Page:
    """A page and what stands above its parts.

    Args:
        name: of the file, without suffix.
        kinds: the registries whose parts are on the page; those of text have another.
        head: title and introduction.
    """

    name: str
    kinds: tuple[str, ...]
    head: str


PAGES = (
    Page(
        'optimizer-wrappers',
        ('optim wrapper',),
        """# Optimizer wrappers

Set one of these as the type of `optim_wrapper`: the training then perturbs its weights. The parameters of the method
itself (`rho`, `eta`, `beta`, ...) are on its [card](methods.md); give them beside the type, or in `perturbation`. All
other parameters are those of [SharpnessAwareMixin](#sharpnessawaremixin), below.
[Flat minima in your project](../how-to/flat-minima.md) shows the change to a config.

| type | in mixed precision | method without `perturbation` |
|---|---|---|
| [SAMOptimWrapper](#samoptimwrapper) | [AmpSAMOptimWrapper](#ampsamoptimwrapper) | [SAM](methods.md#sam) |
| [ASAMOptimWrapper](#asamoptimwrapper) | [AmpASAMOptimWrapper](#ampasamoptimwrapper) | [ASAM](methods.md#asam) |
| [ESAMOptimWrapper](#esamoptimwrapper) | [AmpESAMOptimWrapper](#ampesamoptimwrapper) | [ESAM](methods.md#esam) |
""",
    ),
    Page(
        'hooks',
        ('hook',),
        """# Hooks

Hooks attack the training batches, evaluate under attack, measure sharpness and guard a run. Put them into
`default_hooks` under any name, or into the list `custom_hooks`; a config that sets that list replaces an inherited one.

```python
default_hooks = dict(attack_evaluation=dict(type='AttackEvaluationHook', attacks=['pgd-linf'], interval=5))
```
""",
    ),
    Page(
        'loops',
        ('loop',),
        """# Loops

Loops test under attack, and train by free adversarial training. Set one as `test_cfg` or `train_cfg`; the runner adds
`runner`, `dataloader` and `evaluator`.

```python
train_cfg = dict(type='FreeIterBasedTrainLoop', max_iters=1000, val_interval=1000, replays=8)
test_cfg = dict(type='AttackTestLoop', attacks=['pgd-linf'])
```
""",
    ),
    Page(
        'metrics',
        ('metric',),
        """# Metrics

Every metric of a config is computed clean and under each attack, and those of MMEngine, mmsegmentation and mmpretrain
need no change for it. This is the one that samat-mm adds:

```python
test_evaluator = [dict(type='Accuracy'), dict(type='CalibrationError')]
```
""",
    ),
    Page(
        'data',
        ('dataset', 'transform'),
        """# Data sets and transforms

The data sets of the configs, and the transforms that OpenMMLab lacks. They are in MMEngine's root registries, so every
project finds them. [Configs](configs.md#data) says how to get the data.
""",
    ),
    Page(
        'models',
        ('model',),
        """# Models

Backbones that OpenMMLab lacks: those of the paper, and a small one for digits. Everything else in the configs is
mmsegmentation's and mmpretrain's own.
""",
    ),
    Page(
        'text',
        ('task util', 'source of substitutions'),
        """# Parts for sentences

Models, data and attacks for text classifiers; [sentences](../how-to/sentences.md) shows them at work. Their configs
need `custom_imports = dict(imports=['samat_mm', 'samat_mm.text'])`.
""",
    ),
)
NOTE = 'Generated from the docstrings by `python docs/generate`.'


def registries() -> Iterator[Registry]:
    """Yield MMEngine's root registries and ours."""
    yield from (value for value in vars(mmengine_registries).values() if isinstance(value, Registry))
    yield from (ATTACKS, WEIGHT_PERTURBATIONS, SUBSTITUTIONS)


def registered() -> Iterator[tuple[str, str, Any]]:
    """Yield every part of samat_mm that is registered: its registry, name, and class or function."""
    for where in registries():
        for name, part in where.module_dict.items():
            if part.__module__.startswith(OURS) and not part.__name__.startswith('_'):  # refuses a former name
                yield where.name.replace('_', ' '), name, part


def page_of(kind: str, part: Any) -> str:
    """Return the name of the page that a part is on."""
    if part.__module__.startswith(TEXT):
        return 'text'
    if kind in CARDS:
        return {'attack': 'attacks', 'weight perturbation': 'methods'}[kind]
    return next((page.name for page in PAGES if kind in page.kinds), kind)


def parameters(part: Any) -> tuple[dict[str, Any], dict[type, list[str]]]:
    """Return the parameters of a constructor.

    Returns:
        The default of each parameter of ours, and the names that go on to a class of another package.
    """
    if isinstance(part, FunctionType):
        return {name: value.default for name, value in inspect.signature(part).parameters.items()}, {}
    ours: dict[str, Any] = {}
    others: dict[type, list[str]] = {}
    for base in part.__mro__:
        if '__init__' not in vars(base) or base is object:
            continue
        found = list(inspect.signature(base.__init__).parameters.values())[1:]
        named = [item for item in found if item.kind not in (item.VAR_POSITIONAL, item.VAR_KEYWORD)]
        fresh = {item.name: item.default for item in named if item.name not in ours}
        if base.__module__.startswith(OURS):
            ours |= fresh
        elif fresh:
            others[base] = [name for name in fresh if all(name not in names for names in others.values())]
        if all(item.kind != item.VAR_KEYWORD for item in found):
            break
    return ours, others


def bases(part: Any) -> list[type]:
    """Return the classes of ours that a part inherits from."""
    return [base for base in getattr(part, '__mro__', (part,))[1:] if base.__module__.startswith(OURS)]


def documented_in(part: Any, name: str) -> type | None:
    """Return the class whose docstring has a parameter: the part or a base of it, or None."""
    return next((one for one in (part, *bases(part)) if name in Docstring(one).meanings), None)


def section(name: str, part: Any, kind: str) -> str:
    """Return the section of a part."""
    said = Docstring(part)
    ours, others = parameters(part)
    text = f'## {name}\n\n{said.text}\n\n'
    if said.source:
        text += f'Source: {said.source}\n\n'
    if said.meanings:
        text += '| parameter | default | meaning |\n|---|---|---|\n'
        text += ''.join(_row(key, ours, meaning) for key, meaning in said.meanings.items()) + '\n'
    inherited = {found for key in ours if (found := documented_in(part, key)) not in (part, None)}
    links = [
        f'those of [{base.__name__}]({_page_link(kind, base, part)}#{base.__name__.lower()})'
        for base in sorted(inherited, key=lambda base: base.__name__)
    ]
    passed = [
        f"{', '.join(f'`{key}`' for key in fresh)} of MMEngine's `{base.__name__}`"
        for base, names in others.items()
        if (fresh := [key for key in names if key not in said.meanings])
    ]
    if links or passed:
        text += f'{"Further p" if said.meanings else "P"}arameters: {"; ".join([*links, *passed])}.\n\n'
    return text


def _row(name: str, defaults: dict[str, Any], meaning: str) -> str:
    if name not in defaults:  # **kwargs
        shown = ''
    else:
        shown = 'required' if defaults[name] is inspect.Parameter.empty else f'`{defaults[name]!r}`'
    stars = '' if name in defaults else '**'
    return f'| `{stars}{name}` | {shown} | {meaning} |\n'.replace(' | | ', ' |  | ')


def _page_link(kind: str, base: type, part: Any) -> str:
    page = page_of(kind, base)
    return '' if page == page_of(kind, part) else f'{page}.md'


def document(page: Page) -> str:
    """Return a page: shared bases first, then its parts."""
    found = list(registered())
    shared = {
        base
        for kind, _, part in found
        for key in parameters(part)[0]
        if (base := documented_in(part, key)) is not None and page_of(kind, base) == page.name
        if base not in [other for _, _, other in found]
    }
    text = f'{page.head}\n{NOTE}\n\n'
    for base in sorted(shared, key=lambda base: base.__name__):
        text += section(base.__name__, base, page.kinds[0])
    for kind, name, part in found:
        if page_of(kind, part) == page.name:
            text += section(name, part, kind)
    return text.rstrip('\n') + '\n'
