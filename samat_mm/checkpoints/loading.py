"""Load a checkpoint for evaluation: the whole model or nothing."""

from torch import nn

from samat_mm.checkpoints.weights_by_name import bare_name, weights_by_name
from samat_mm.compat import load_checkpoint_file
from samat_mm.errors import InputError


def load_for_evaluation(model: nn.Module, path: str) -> None:
    """Fill a model from a local checkpoint.

    MMEngine leaves weights that do not fit at their random initial values and only logs them. A checkpoint of another
    architecture would then give a table of meaningless numbers.

    Args:
        model: the bare model.
        path: an MMEngine checkpoint or a bare state_dict.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if the file cannot be loaded safely, or is of another architecture.
    """
    state = weights_by_name(load_checkpoint_file(path), f'checkpoint {path}')
    wanted = {bare_name(key): (key, value) for key, value in model.state_dict().items()}
    # Batch norm only counts its batches for momentum=None, and the forward does not read the count.
    missing = [key for key in wanted if key not in state and not key.endswith('num_batches_tracked')]
    left_over = [key for key in state if key not in wanted]
    reshaped = [key for key, (_, value) in wanted.items() if key in state and state[key].shape != value.shape]
    if missing or left_over or reshaped:
        examples = ', '.join(missing[:2] + reshaped[:2] + left_over[:2])
        raise InputError(
            f'checkpoint {path} is of another architecture than the {type(model).__name__} of this config: '
            f'{len(missing)} weights are missing in it, {len(left_over)} are left over and {len(reshaped)} have '
            f'another shape ({examples}). Use the config it was trained with.'
        )
    model.load_state_dict({wanted[key][0]: value for key, value in state.items()}, strict=False)
