"""Train: from a config to a runner with a trained model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.runner import Runner
from torch import nn

from samat_mm.engine.resume import check, resume
from samat_mm.errors import InputError
from samat_mm.runners.builders import build_runner
from samat_mm.runners.config_errors import building
from samat_mm.runners.config_files import load_config
from samat_mm.runners.config_parts import check_optimizer, check_training, name_of
from samat_mm.runners.console import console_of
from samat_mm.runners.training_progress import TrainingProgress


def train(
    config: Config | str | Path,
    model: nn.Module | None = None,
    *,
    work_dir: str | Path | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    resume_from: str | Path | None = None,
    amp: bool = False,
    seed: int | None = None,
    deterministic: bool = False,
    auto_scale_lr: bool = False,
    launcher: str | None = None,
    verbose: bool = False,
) -> Runner:
    """Train a model.

    Args:
        config: config of the training, or its file.
        model: the model to train, from the weights that it has, instead of a new one of the config.
        work_dir: folder of logs and checkpoints; by default that of the config, or else ``work_dirs/NAME``.
        cfg_options: entries of the config to replace, by their dotted names.
        resume_from: checkpoint to continue from, or 'auto' for the newest one of the folder.
        amp: train in mixed precision; the method stays, so SAM stays SAM.
        seed: seed of the training; by default that of the config.
        deterministic: let torch and cuDNN use deterministic algorithms only.
        auto_scale_lr: scale the learning rate to the batch size, by the ``base_batch_size`` of the config.
        launcher: what started the processes; by default what the config says.
        verbose: show MMEngine's log on the terminal, too.

    Returns:
        MMEngine's runner, with ``runner.model`` and ``runner.cfg``.

    Raises:
        ValueError: if a part of a training is missing, or the config cannot be built.
        OSError: if nothing can be written to the folder of the run.

    Example:
        >>> import samat_mm
        >>> runner = samat_mm.train('samat_mm::smallcnn_handwriting_sam.py', cfg_options={'train_cfg.max_epochs': 1})
        >>> report = samat_mm.evaluate(runner.cfg, runner.model, ['pgd-linf'])
        >>> report.name
        'smallcnn_handwriting_sam'
    """
    resumed = None if resume_from is None else str(resume_from)
    if resumed is not None:
        check(resumed)
    with console_of(verbose) as console:
        config = load_config(config, options=cfg_options, work_dir=work_dir, launcher=launcher)
        check_training(config)
        if seed is not None:
            config.randomness = {**(config.get('randomness') or {}), 'seed': seed}
        if deterministic:
            config.randomness = {**(config.get('randomness') or {}), 'deterministic': True}
        if amp:
            use_mixed_precision(config)
        if auto_scale_lr:
            scale_learning_rate(config)
        log_the_maximisations(config)
        runner = build_runner(config, model)
        check_optimizer(config)
        progress = TrainingProgress(console)
        if not verbose:
            runner.register_hook(progress)
        if resumed is not None:
            resume(runner, resumed)
        try:
            with building(config):  # MMEngine builds the data, the loops and the optimizer when training starts
                runner.train()
        finally:
            progress.hide()
    return runner


def use_mixed_precision(config: Config) -> None:
    """Replace the config's optimizer wrapper by its mixed precision twin.

    Raises:
        ValueError: if there is no wrapper, or it has no twin.
    """
    if not config.get('optim_wrapper'):
        raise InputError(f'{name_of(config)} has no optim_wrapper, whose precision --amp would lower; add it.')
    given = config.optim_wrapper.get('type', 'OptimWrapper')
    name = str(getattr(given, '__name__', given)).rpartition('.')[2]  # a class, or a name with a scope
    base = name.removeprefix('AnyDevice').removeprefix('Amp')
    twin = 'AnyDeviceAmpOptimWrapper' if base == 'OptimWrapper' else f'Amp{base}'
    if OPTIM_WRAPPERS.get(twin) is None:
        raise InputError(f'--amp needs the mixed precision twin {twin} of {name}, which is not registered.')
    config.optim_wrapper.type = twin


def scale_learning_rate(config: Config) -> None:
    """Turn on MMEngine's scaling of the learning rate to the batch size.

    Raises:
        ValueError: if the config does not say for which batch size its learning rate is.
    """
    base = (config.get('auto_scale_lr') or {}).get('base_batch_size')
    if not isinstance(base, int) or isinstance(base, bool) or base < 1:
        raise InputError(
            '--auto-scale-lr needs the batch size for which the learning rate was chosen, as '
            f'auto_scale_lr=dict(base_batch_size=16) in {name_of(config)}; got {base!r}.'
        )
    config.auto_scale_lr.enable = True


def log_the_maximisations(config: Config) -> None:
    """Add the hook that logs the maximisations of the training to the config, if it is missing."""
    hooks = dict(config.get('default_hooks') or {})
    hooks['training_summary'] = hooks.get('training_summary') or dict(type='TrainingSummaryHook')
    config.default_hooks = hooks
