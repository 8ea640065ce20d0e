"""Everything that registers itself in MMEngine's registries, by importing it."""

from samat_mm import datasets, engine, networks, registry  # noqa: F401
from samat_mm.evaluation import calibration_error  # noqa: F401
