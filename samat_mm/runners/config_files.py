"""Read configs."""

import argparse
import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, DictAction
from mmengine.fileio import load

from samat_mm.compat import repair_process
from samat_mm.errors import InputError
from samat_mm.files.inputs import config_file
from samat_mm.runners.config_errors import merging, reading
from samat_mm.runners.config_parts import check_parts


def load_config(
    config: Config | str | Path,
    *,
    options: Mapping[str, Any] | None = None,
    work_dir: str | Path | None = None,
    launcher: str | None = None,
) -> Config:
    """Return a config that can be built, after the repairs that MMEngine needs.

    Args:
        config: the file of the config, or a config, which is copied.
        options: entries to replace by their dotted names, such as ``{'optim_wrapper.rho': 0.1}``.
        work_dir: folder of the run; by default that of the config, or else ``work_dirs/NAME``.
        launcher: what started the processes, as MMEngine names it; by default what the config says.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a config, or a part of it is of the wrong kind.
    """
    repair_process()
    config = copy.deepcopy(config) if isinstance(config, Config) else read_config(config)
    with merging(config):
        config.merge_from_dict(copy.deepcopy(dict(options or {})))  # MMEngine takes _delete_ out of it
    check_parts(config)
    if launcher is not None:
        config.launcher = launcher
    given = work_dir if work_dir is not None else config.get('work_dir')
    config.work_dir = str(Path('work_dirs') / Path(config.filename or 'run').stem if given is None else given)
    if config.get('launcher') == 'pytorch' and not torch.cuda.is_available():
        _run_on_processors(config)
    return config


def parsed_options(entries: Iterable[str]) -> dict[str, Any]:
    """Return ``KEY=VALUE`` entries as values by dotted names, as MMEngine's tools read them.

    Raises:
        ValueError: if the brackets of one do not match.
    """
    action, parsed = DictAction(['--cfg-options'], 'options'), argparse.Namespace(options={})
    for entry in entries:
        try:
            action(argparse.ArgumentParser(), parsed, [entry])
        except (AssertionError, ValueError, RecursionError) as error:
            raise InputError(f'{entry!r} of --cfg-options cannot be read: {error}.') from error
    return parsed.options


def read_config(name: str | Path) -> Config:
    """Return the config of a file, as it is there.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a config.
    """
    path = config_file(name)
    with reading(path):
        if path.suffix != '.py' and not isinstance(load(path), dict):
            raise InputError(f'config {path} must be a mapping, with a model and the other parts by name.')
        return Config.fromfile(path)


def _run_on_processors(config: Config) -> None:
    """Join the other processes over gloo, because MMEngine assumes a GPU for each process."""
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group('gloo')
    config.setdefault('model_wrapper_cfg', {'type': 'MMDistributedDataParallel', 'device_ids': None})
