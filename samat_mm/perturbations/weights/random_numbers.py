"""A method's own random numbers, which checkpoints hold."""

import warnings
from typing import Any

import torch
from torch import Tensor


class RandomNumbers:
    """A method's own random generator, the same on all processes, on any device.

    It neither disturbs nor depends on the global generators, and its state goes into checkpoints.

    Args:
        seed: seed of the generator.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._generator: torch.Generator | None = None
        self._loaded: Tensor | None = None

    def on(self, device: torch.device) -> torch.Generator:
        """Return the generator on ``device``, seeded anew if the last one was on another kind of device."""
        if self._generator is None or self._generator.device.type != device.type:
            self._generator = torch.Generator(device).manual_seed(self.seed)
        if self._loaded is not None:
            try:
                self._generator.set_state(self._loaded.cpu())
            except RuntimeError:
                warnings.warn(
                    f'the random numbers of the checkpoint come from another kind of device than {device.type}, whose '
                    f'generators differ; they start anew from seed {self.seed}.',
                    stacklevel=2,
                )
            self._loaded = None
        return self._generator

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the generator, empty before its first use."""
        state = self._loaded if self._loaded is not None else self._generator and self._generator.get_state()
        return {} if state is None else {'generator': state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state of :meth:`state_dict`."""
        self._generator, self._loaded = None, state.get('generator')

    def __repr__(self) -> str:
        return f'seed {self.seed}'
