"""Fixtures that the tests of several modules share."""

import os

# The models are tiny: threads cost more than they bring, and processes that tests start would fight for the cores.
os.environ.setdefault('OMP_NUM_THREADS', '1')

from small_models import training_case

__all__ = ['training_case']
