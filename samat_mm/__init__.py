"""samat-mm: sharpness-aware minimisation and adversarial training for every OpenMMLab model.

``custom_imports = dict(imports=['samat_mm'])`` in a config is all that another OpenMMLab project needs. Importing
samat_mm imports neither MMEngine nor anything else of OpenMMLab: ``samat_mm.perturbations`` is plain torch. Once
MMEngine is imported, before or after samat_mm, its registries have our parts (`registration.py`).
:mod:`samat_mm.compat` lists the other changes to the process.
"""

from importlib import import_module
from typing import Any

from samat_mm import compat

__version__ = '0.1.0'


def _register() -> None:
    import_module('samat_mm.registration')


def _resume(runner: Any) -> None:
    from samat_mm.engine.resume import NEWEST, resume

    resume(runner, NEWEST)


compat.secure_process()
compat.adapt_process(_register, _resume)
