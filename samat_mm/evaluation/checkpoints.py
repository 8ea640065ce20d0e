"""Load a checkpoint for evaluation: all of the model or nothing."""

import re
from typing import Any

from torch import Tensor, nn

from samat_mm.compat import load_checkpoint_file
from samat_mm.errors import InputError


def load_for_evaluation(model: nn.Module, path: str) -> None:
    """Fill a model from a local checkpoint.

    MMEngine leaves what does not fit at its random initial value and only logs it, so that a checkpoint of another
    architecture gives a table of meaningless numbers.

    Args:
        model: the bare model.
        path: a checkpoint of MMEngine's, or a bare state_dict.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file cannot be loaded safely, or is not of this architecture.
    """
    checkpoint: Any = load_checkpoint_file(path)
    state = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, dict) else {}
    state = {re.sub(r'^module\.', '', key): value for key, value in state.items() if isinstance(value, Tensor)}
    wanted = model.state_dict()
    missing = [key for key in wanted if key not in state]
    left_over = [key for key in state if key not in wanted]
    reshaped = [key for key in wanted if key in state and state[key].shape != wanted[key].shape]
    if missing or left_over or reshaped:
        examples = ', '.join((missing + reshaped + left_over)[:3])
        raise InputError(
            f'checkpoint {path} is of another architecture than the {type(model).__name__} of this config: '
            f'{len(missing)} weights are missing in it, {len(left_over)} are left over and {len(reshaped)} have '
            f'another shape ({examples}). Give the config it was trained with.'
        )
    model.load_state_dict(state)
