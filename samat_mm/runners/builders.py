"""Build runners and models from configs."""

import copy
from itertools import count
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, RUNNERS, DefaultScope
from mmengine.runner import Runner
from torch import nn

from samat_mm.checkpoints.loading import load_for_evaluation
from samat_mm.engine.hooks import PretrainedBackboneHook
from samat_mm.errors import UnsupportedError
from samat_mm.files.outputs import writable_folder
from samat_mm.runners.config_errors import building
from samat_mm.runners.config_files import load_config
from samat_mm.runners.config_parts import name_of

_numbers = count(1)  # of the runners that this process has built


def load_model(config: Config | str | Path, checkpoint: str | Path) -> nn.Module:
    """Return the model of a config with the weights of a checkpoint, on the CPU, without the rest of a run.

    Args:
        config: the config, or its file.
        checkpoint: a local checkpoint of it.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the model cannot be built, or the checkpoint is of another one.
    """
    config = load_config(config)
    parts = config.model.copy()
    if config.get('data_preprocessor') is not None:
        parts.setdefault('data_preprocessor', config.data_preprocessor)
    with building(config), DefaultScope.overwrite_default_scope(config.get('default_scope')):
        model = MODELS.build(parts)
    model = revert_sync_batchnorm(model)  # as MMEngine's runner does with a model on one device
    load_for_evaluation(model, str(checkpoint))
    return model


def build_runner(config: Config, model: nn.Module | None = None) -> Any:
    """Build the runner that a config names in ``runner_type``, by default MMEngine's.

    Each runner of a process has an experiment name of its own: by that name, MMEngine shares the default scope, the
    logger, the message hub and the visualizer, and runners of the same file name and second would get the same one.

    Args:
        config: the config.
        model: the model to run, instead of a new one of the config; nothing that the config loads replaces its weights.

    Raises:
        ValueError: if the config cannot be built; the message has MMEngine's reason.
        OSError: if the folder of the run cannot be written to.
    """
    writable_folder(config.work_dir, '--work-dir')
    built = config.copy()
    if not config.get('experiment_name'):
        built.experiment_name = f'{Path(config.filename or "runner").stem}-{next(_numbers)}'  # MMEngine adds the time
    if model is not None:
        built.model, built.load_from = dict(type=_returning(model)), None
    with building(config):
        runner: Any = RUNNERS.build(built) if 'runner_type' in built else Runner.from_cfg(built)
    if not config.get('experiment_name'):
        runner.cfg.pop('experiment_name')  # a runner that is built from it gets one of its own
    if model is not None:
        runner._init_model_weights = lambda: None  # the model has its weights
        runner._hooks = [hook for hook in runner._hooks if not isinstance(hook, PretrainedBackboneHook)]
        runner.cfg.model = copy.deepcopy(config.model)
        runner.dump_config()
    return runner


def build_runner_and_model(config: Config, model: nn.Module | None = None) -> Runner:
    """Build a runner like :func:`build_runner`, and require that it has its model before it runs.

    Raises:
        ValueError: if the config cannot be built; the message has MMEngine's reason.
        TypeError: if the runner builds its model later, as MMEngine's FlexibleRunner does.
        OSError: if the folder of the run cannot be written to.
    """
    runner = build_runner(config, model)
    if not isinstance(getattr(runner, 'model', None), nn.Module):
        raise UnsupportedError(
            f'the {type(runner).__name__} of {name_of(config)} has no model until it runs, but weights must be loaded '
            'into it before; use --cfg-options runner_type=Runner.'
        )
    return runner


def _returning(model: nn.Module) -> type:
    """Return a type that a config can name for its model, because MMEngine copies configs and prints their types."""

    class ModelInMemory:
        def __new__(cls, **ignored: Any) -> Any:
            return model

    return ModelInMemory
