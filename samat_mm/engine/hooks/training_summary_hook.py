"""Log at the beginning of every training over which variables it maximises its loss."""

from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from samat_mm.engine.optim_wrappers.sharpness_aware import SharpnessAwareMixin
from samat_mm.engine.training_summary import ascent_summary, training_summary
from samat_mm.errors import InputError
from samat_mm.model_state import unwrapped

KEY = 'adversarial_training'  # where our configs have their hook, in default_hooks


@HOOKS.register_module()
class TrainingSummaryHook(Hook):
    """Logs whether the training maximises its loss over weights, inputs or neither, and how.

    The first line of the log thus shows a config that inherits a method and loses it. ``samat-mm train`` adds the hook
    to every config; where it is absent, the hooks that perturb inputs and the sharpness-aware optimizer wrappers log
    the sentence.
    """

    priority = 'HIGHEST'

    def before_train(self, runner: Runner) -> None:
        """Log the sentence, once even if there are several of these hooks.

        Raises:
            ValueError: if the config has a hook where nothing reads it.
        """
        if runner.cfg.get(KEY) is not None:
            raise InputError(
                f'{KEY} stands at the top of the config, where nothing reads it; put it among the hooks: '
                f"default_hooks = dict({KEY}=_base_.pop('{KEY}')), or {KEY}=dict(type=...) in there."
            )
        if next(hook for hook in runner.hooks if isinstance(hook, TrainingSummaryHook)) is self:
            log_summary(runner)


def log_summary(runner: Runner) -> None:
    """Log the sentence on the training of a runner."""
    runner.logger.info(summary_of(runner))


def summary_of(runner: Runner) -> str:
    """Return the sentence on the training of a runner, whose optimizer wrappers then do not log it themselves."""
    wrapper, schedulers = runner.optim_wrapper, runner.param_schedulers or []
    wrappers = dict(wrapper.items()) if isinstance(wrapper, OptimWrapperDict) else {'': wrapper}
    aware = {name: entry for name, entry in wrappers.items() if isinstance(entry, SharpnessAwareMixin)}
    weights = []
    for name, entry in aware.items():
        entry.announced = True
        weights.append(ascent_summary(entry, schedulers.get(name, []) if isinstance(schedulers, dict) else schedulers))
    model = unwrapped(runner.model)
    inputs = [hook.maximiser(model) for hook in runner.hooks if hasattr(hook, 'maximiser')]
    return training_summary(weights, inputs)


def has_summary(runner: Runner) -> bool:
    """Tell whether the runner has a :class:`TrainingSummaryHook`."""
    return any(isinstance(hook, TrainingSummaryHook) for hook in runner.hooks)
