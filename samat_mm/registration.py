"""Everything that registers itself in MMEngine's registries, by importing it."""

from importlib.util import find_spec

from samat_mm import engine, networks, registry  # noqa: F401

if find_spec('mmseg') is not None:  # the data sets are mmsegmentation's kind
    from samat_mm import datasets  # noqa: F401
