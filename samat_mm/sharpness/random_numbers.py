"""Seeded random numbers that leave the global generators unchanged."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded_generators(seed: int) -> Iterator[None]:
    """Seed the generators of Python, numpy and torch (CPU and current CUDA device) inside the block only.

    Afterwards the generators have their previous state.
    """
    python, arrays, processor = random.getstate(), np.random.get_state(), torch.get_rng_state()
    accelerator = torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None
    try:
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.default_generator.manual_seed(seed)
        if accelerator is not None:
            torch.cuda.manual_seed(seed)
        yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)
        torch.set_rng_state(processor)
        if accelerator is not None:
            torch.cuda.set_rng_state(accelerator)
