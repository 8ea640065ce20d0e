"""Make MMEngine load every checkpoint safely."""

import io
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from samat_mm.compat.checkpoints import TRUST_VARIABLE, is_trusted, load_checkpoint_bytes, load_checkpoint_file
from samat_mm.errors import FileError, InputError


def load_checkpoints_safely() -> None:
    """Make every checkpoint that MMEngine loads go through :func:`load_checkpoint_file`, whatever its source.

    MMEngine itself falls back to unpickling anything if safe loading fails, and unpickles everything that it downloads.
    """
    from mmengine.runner import CheckpointLoader, checkpoint

    CheckpointLoader.register_scheme(prefixes='', loader=load_checkpoint_file, force=True)
    checkpoint.load_url = _download_and_load  # http, torchvision://, open-mmlab://, mmcls://
    checkpoint._safe_torch_load = _load  # s3://, petrel://, pavi://, and open-mmlab:// with local files


def _load(file: Any, map_location: Any = None, weights_only: bool | None = None) -> Any:
    """Replace MMEngine's function of this signature; only the user decides whether code may run."""
    if isinstance(file, io.BytesIO):
        return load_checkpoint_bytes(file.read(), 'from a remote store', map_location)
    return load_checkpoint_file(file, map_location)


def _download_and_load(url: str, model_dir: str | None = None, map_location: Any = None, progress: bool = True) -> Any:
    """Replace ``torch.hub.load_state_dict_from_url``, with the same file cache."""
    import torch

    folder = Path(model_dir or Path(torch.hub.get_dir()) / 'checkpoints')
    file = folder / Path(urlparse(url).path).name
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(file), progress=progress)
        except OSError as error:
            raise FileError(
                f'{url} could not be downloaded ({error}); fetch it elsewhere and give its path.'
            ) from error
    return load_checkpoint_file(file, map_location)


def refuse_models_from_checkpoints() -> None:
    """Keep inferencers from executing the text of a config in a checkpoint.

    They do this if they get weights but no model. Even without executing the text, building the model that it describes
    would call anything by its name.
    """
    from mmengine.infer import BaseInferencer

    original = BaseInferencer._init_model

    def init_model(self: Any, cfg: Any, weights: str | None, device: str = 'cpu') -> Any:
        if not cfg and not is_trusted():
            raise InputError(
                f'the model of {weights} is described in it by a program, which was not run. Give the config, '
                f'model=PATH, or if you trust the file, set {TRUST_VARIABLE}=1 and run again.'
            )
        return original(self, cfg, weights, device)

    BaseInferencer._init_model = init_model
