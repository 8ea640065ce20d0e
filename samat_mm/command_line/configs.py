"""Build a config and a runner from arguments."""

import argparse
import os
from itertools import count
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.fileio import load
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, RUNNERS, DefaultScope
from mmengine.runner import Runner
from torch import nn

from samat_mm.checkpoints.loading import load_for_evaluation
from samat_mm.command_line.arguments import STARTED_BY
from samat_mm.command_line.config_errors import building, merging, reading
from samat_mm.command_line.config_parts import check_parts
from samat_mm.compat import repair_process
from samat_mm.errors import InputError, MissingFileError, UnsupportedError
from samat_mm.files.outputs import writable_folder

_numbers = count(1)  # of the runners that this process has built


def load_config(args: argparse.Namespace) -> Config:
    """Return the config that the arguments ask for, after the repairs that every tool needs.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a config, or a part of it is of the wrong kind.
    """
    repair_process()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    _check_file(args.config)
    unset = [name for name in STARTED_BY.get(args.launcher, ()) if name not in os.environ]
    if unset:
        raise InputError(f'--launcher {args.launcher} is for processes that it started; {", ".join(unset)} is not set.')
    config = _read(args.config)
    with merging(args.config):
        config.merge_from_dict(args.cfg_options or {})
    check_parts(config)
    config.launcher = args.launcher
    given = args.work_dir if args.work_dir is not None else config.get('work_dir')
    config.work_dir = str(Path('work_dirs') / Path(args.config).stem if given is None else given)
    if args.launcher == 'pytorch' and not torch.cuda.is_available():
        _start_on_processors(config)
    return config


def load_model(config: Config | str | Path, checkpoint: str) -> nn.Module:
    """Return the model of a config with the weights of a checkpoint, on the CPU, without the rest of a run.

    Args:
        config: the config, or its file.
        checkpoint: a local checkpoint of it.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the model cannot be built, or the checkpoint is of another one.
    """
    if not isinstance(config, Config):
        _check_file(config)
        config = _read(config)
    check_parts(config)
    parts = config.model.copy()
    if config.get('data_preprocessor') is not None:
        parts.setdefault('data_preprocessor', config.data_preprocessor)
    with building(config), DefaultScope.overwrite_default_scope(config.get('default_scope')):
        model = MODELS.build(parts)
    model = revert_sync_batchnorm(model)  # as MMEngine's runner does with a model on one device
    load_for_evaluation(model, checkpoint)
    return model


def build_runner(config: Config) -> Any:
    """Build the runner that a config names in ``runner_type``, by default MMEngine's.

    Each runner of a process has an experiment name of its own: by that name, MMEngine shares the default scope, the
    logger, the message hub and the visualizer, and runners of the same file name and second would get the same one.

    Raises:
        ValueError: if the config cannot be built; the message has MMEngine's reason.
        OSError: if the folder of the run cannot be written to.
    """
    writable_folder(config.work_dir, '--work-dir')
    named = _with_own_name(config, next(_numbers))
    with building(config):
        return RUNNERS.build(named) if 'runner_type' in named else Runner.from_cfg(named)


def build_runner_and_model(config: Config) -> Runner:
    """Build a runner like :func:`build_runner`, and require that it has its model before it runs.

    Raises:
        ValueError: if the config cannot be built; the message has MMEngine's reason.
        TypeError: if the runner builds its model later, as MMEngine's FlexibleRunner does.
        OSError: if the folder of the run cannot be written to.
    """
    runner = build_runner(config)
    if not isinstance(getattr(runner, 'model', None), torch.nn.Module):
        raise UnsupportedError(
            f'the {type(runner).__name__} of config {config.filename} has no model until it runs, but weights must be '
            'loaded into it before; use --cfg-options runner_type=Runner.'
        )
    return runner


def _with_own_name(config: Config, number: int) -> Config:
    """Return the config with a numbered experiment name, if it is not the first of the process and sets none."""
    if number == 1 or config.get('experiment_name'):
        return config
    named = config.copy()
    named.experiment_name = f'{Path(config.filename or "runner").stem}-{number}'  # MMEngine adds the time
    return named


def _check_file(path: str | Path) -> None:
    if not Path(path).is_file():
        raise MissingFileError(f'config {path} is not a file; the configs are in configs/.')
    if Path(path).suffix not in ('.py', '.json', '.yaml', '.yml'):
        raise InputError(f'the config comes first and is a .py file; got {path}.')


def _read(path: str | Path) -> Config:
    with reading(path):
        if Path(path).suffix != '.py' and not isinstance(load(path), dict):
            raise InputError(f'config {path} must be a mapping, with a model and the other parts by name.')
        return Config.fromfile(path)


def _start_on_processors(config: Config) -> None:
    """Join the other processes over gloo, because MMEngine assumes a GPU for each process."""
    torch.distributed.init_process_group('gloo')
    config.setdefault('model_wrapper_cfg', {'type': 'MMDistributedDataParallel', 'device_ids': None})
