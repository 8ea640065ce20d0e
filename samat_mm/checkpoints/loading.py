"""Load a checkpoint for evaluation: all of the model or nothing."""

from torch import nn

from samat_mm.checkpoints.weights_by_name import bare_name, weights_by_name
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
    state = weights_by_name(load_checkpoint_file(path), f'checkpoint {path}')
    wanted = {bare_name(key): (key, value) for key, value in model.state_dict().items()}
    # Batch norm counts its batches for momentum=None only, and no forward reads the count.
    missing = [key for key in wanted if key not in state and not key.endswith('num_batches_tracked')]
    left_over = [key for key in state if key not in wanted]
    reshaped = [key for key, (_, value) in wanted.items() if key in state and state[key].shape != value.shape]
    if missing or left_over or reshaped:
        examples = ', '.join(missing[:2] + reshaped[:2] + left_over[:2])
        raise InputError(
            f'checkpoint {path} is of another architecture than the {type(model).__name__} of this config: '
            f'{len(missing)} weights are missing in it, {len(left_over)} are left over and {len(reshaped)} have '
            f'another shape ({examples}). Give the config it was trained with.'
        )
    model.load_state_dict({wanted[key][0]: value for key, value in state.items()}, strict=False)
