"""samat-mm: sharpness-aware minimisation and adversarial training for every OpenMMLab model.

``custom_imports = dict(imports=['samat_mm'])`` in a config is all that another OpenMMLab project needs. Where MMEngine
is not installed, ``samat_mm.perturbations`` works on its own.
"""

from importlib.util import find_spec

__version__ = '0.1.0'

if find_spec('mmengine') is not None:
    from samat_mm import compat, engine, networks, registry  # noqa: F401  (registers everything)

    if find_spec('mmseg') is not None:  # the data sets are mmsegmentation's kind
        from samat_mm import datasets  # noqa: F401
