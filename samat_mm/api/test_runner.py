"""The runner of a test under attacks, from a config."""

import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from mmengine.config import Config
from mmengine.registry import LOOPS
from mmengine.runner import Runner
from torch import nn

from samat_mm.engine.hooks import AttackEvaluationHook
from samat_mm.engine.loops import AttackTestLoop, EvaluationLoop
from samat_mm.errors import InputError
from samat_mm.evaluation import EvaluationResult
from samat_mm.presets import listed
from samat_mm.runners.builders import build_runner_and_model
from samat_mm.runners.config_errors import building
from samat_mm.runners.config_parts import name_of

OPTIONS = {'checks': '--sanity', 'export_dir': '--export'}  # of samat-mm test, where they have other names
STATED = ('pixel_range', 'craft_dtype', 'protocol', 'max_samples')  # settings that numbers depend on


def attacks_of(config: Config) -> list[str | dict]:
    """Return the attacks that the config's own test loop and evaluation hooks name, without repetition."""
    found: list[str | dict] = []
    for attack in (attack for part in _evaluating(config) for attack in listed(part.get('attacks', ()))):
        if attack not in found:
            found.append(attack)
    return found


def build_test_runner(config: Config, model: nn.Module | None = None, **options: Any) -> Runner:
    """Build a runner whose test is an evaluation loop, without hooks that evaluate attacks as well.

    The loop is the one that the config names in ``test_cfg``, or else an :class:`AttackTestLoop`.

    Args:
        config: config of the model, the data and the metrics; it is changed.
        model: the model to test, instead of a new one of the config.
        **options: arguments of the loop; where one is None, what the config states for its own loop or hooks.

    Raises:
        ValueError: if the config has no test set or no metrics, or cannot be built.
        TypeError: if it names a runner of another kind than MMEngine's.
        OSError: if nothing can be written to the folder of the run.
    """
    missing = [name for name in ('test_dataloader', 'test_evaluator') if not config.get(name)]
    if missing:
        raise InputError(f'{name_of(config)} has no {" and no ".join(missing)}, which a test needs; add it.')
    half = (config.get('test_cfg') or {}).get('fp16', False)
    if not isinstance(half, bool):
        raise InputError(f'test_cfg.fp16 of {name_of(config)} must be True or False; got {half!r}.')
    stated = {
        name: part[name] for part in reversed(_evaluating(config)) for name in STATED if part.get(name) is not None
    }
    options = {**stated, **{name: value for name, value in options.items() if value is not None}}
    kind = _loop_of(config.get('test_cfg')) or AttackTestLoop
    refuse_unknown_options(kind, options)
    config.load_from, config.resume = None, False
    config.custom_hooks = [hook for hook in config.get('custom_hooks') or [] if not _evaluates(hook)]
    config.default_hooks = {
        name: hook for name, hook in (config.get('default_hooks') or {}).items() if not _evaluates(hook)
    }
    config.test_cfg = dict(type='TestLoop', fp16=half)
    runner = build_runner_and_model(config, model)
    with building(config):
        runner._test_loop = runner.build_test_loop(dict(type=kind, fp16=half, **options))
    return runner


def refuse_unknown_options(kind: type[EvaluationLoop], options: Mapping[str, Any]) -> None:
    """Refuse options that the loop of a config does not take.

    Raises:
        ValueError: naming them.
    """
    taken = {name for base in (kind, EvaluationLoop) for name in inspect.signature(base.__init__).parameters}
    unknown = sorted(options.keys() - taken)
    if unknown:
        named = ', '.join(f'{name} ({OPTIONS.get(name, "--" + name.replace("_", "-"))})' for name in unknown)
        close = get_close_matches(unknown[0], taken, n=1)
        advice = f'did you mean {close[0]}?' if close else 'leave it out, or give it to an attack.'
        raise InputError(f'{kind.__name__}, by which this config is tested, takes no {named}; {advice}')


def run_test(runner: Runner, loop: EvaluationLoop) -> EvaluationResult:
    """Run a test, with the hooks of its runner, and return its result."""
    runner._test_loop = loop
    runner.test()
    assert loop.result is not None
    return loop.result


def _evaluating(config: Config) -> list[Mapping[str, Any]]:
    """Return the configs of the attack test loop and of the evaluation hooks."""
    loop = config.get('test_cfg') or {}
    hooks = [*(config.get('default_hooks') or {}).values(), *(config.get('custom_hooks') or [])]
    return [part for part in (loop, *hooks) if _evaluates(part)]


def _evaluates(part: Any) -> bool:
    """Tell whether a config is of an evaluation hook or loop, by class or by name."""
    kind = part.get('type') if isinstance(part, dict) else None  # None: a default hook that is left out
    name = kind.__name__ if isinstance(kind, type) else str(kind).rpartition('.')[2]
    return name == AttackEvaluationHook.__name__ or _loop_of(part) is not None


def _loop_of(part: Any) -> type[EvaluationLoop] | None:
    """Return the class of an evaluation loop that a config names, None if it is of anything else."""
    kind = part.get('type') if isinstance(part, dict) else None
    found = kind if isinstance(kind, type) else LOOPS.get(str(kind).rpartition('.')[2])
    return found if isinstance(found, type) and issubclass(found, EvaluationLoop) else None
