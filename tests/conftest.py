"""Fixtures that the tests of several modules share."""

from small_models import training_case

__all__ = ['training_case']
