"""samat-mm: sharpness-aware minimisation and adversarial training for every OpenMMLab model.

``custom_imports = dict(imports=['samat_mm'])`` in a config is all that another OpenMMLab project needs. Importing
samat_mm imports neither torch nor MMEngine nor anything else of OpenMMLab: ``samat_mm.perturbations`` is plain torch.
Once MMEngine is imported, before or after samat_mm, its registries have our parts (`registration.py`).
:mod:`samat_mm.compat` lists the other changes to the process.

``samat_mm.train``, ``evaluate``, ``compare`` and ``measure_sharpness`` do in Python what the commands do.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from samat_mm import compat
from samat_mm.version import __version__ as __version__

if TYPE_CHECKING:
    from samat_mm.api.comparison import compare as compare
    from samat_mm.api.evaluation import evaluate as evaluate
    from samat_mm.api.sharpness import measure_sharpness as measure_sharpness
    from samat_mm.api.training import train as train
    from samat_mm.reports import Report as Report

WHERE = {  # by name; these modules import MMEngine, so not before they are needed
    'Report': 'samat_mm.reports',
    'compare': 'samat_mm.api.comparison',
    'evaluate': 'samat_mm.api.evaluation',
    'measure_sharpness': 'samat_mm.api.sharpness',
    'train': 'samat_mm.api.training',
}


def __getattr__(name: str) -> Any:
    if name in WHERE:
        return getattr(import_module(WHERE[name]), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
    return sorted({*globals(), *WHERE})


def _register() -> None:
    import_module('samat_mm.registration')


def _resume(runner: Any) -> None:
    from samat_mm.engine.resume import NEWEST, resume

    resume(runner, NEWEST)


compat.secure_process()
compat.adapt_process(_register, _resume)
