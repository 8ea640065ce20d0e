"""Evaluate a checkpoint, clean and under attacks: from a config to a report."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import get_world_size
from mmengine.runner import Runner

from samat_mm.checkpoints.loading import load_for_evaluation
from samat_mm.command_line.config_errors import building
from samat_mm.command_line.configs import build_runner_and_model, load_model
from samat_mm.compat import repair_process
from samat_mm.engine.hooks import AttackEvaluationHook
from samat_mm.engine.loops import AttackTestLoop
from samat_mm.errors import InputError
from samat_mm.evaluation import EvaluationResult, SanityChecks, build_report, describe_evaluation, per_class_section
from samat_mm.evaluation.attack_run import CLEAN
from samat_mm.evaluation.subsets import selection_of
from samat_mm.model_state import unwrapped
from samat_mm.perturbations.parametrized import SeededAttack
from samat_mm.presets import build_attacks, listed

STATED = ('pixel_range', 'craft_dtype', 'protocol', 'max_samples')  # settings that numbers depend on


@dataclass(frozen=True)
class EvaluationReport:
    """The report of an evaluation.

    Attributes:
        document: the document that ``tools/test.py --out`` writes.
        result: the result with the scores of every image.
    """

    document: dict[str, Any]
    result: EvaluationResult


def evaluate(
    config: Config | str | Path,
    checkpoint: str,
    attacks: Sequence[str | dict] | Mapping[str, SeededAttack] | None = None,
    *,
    checks: SanityChecks | None = None,
    surrogate: tuple[Config | str | Path, str] | None = None,
    name: str | None = None,
    seed: int | None = None,
    **options: Any,
) -> EvaluationReport:
    """Evaluate a checkpoint, clean and under attacks.

    Args:
        config: config of the model, the data and the metrics, or its file; scores of images go to its ``work_dir``.
        checkpoint: a local checkpoint of that config.
        attacks: presets ('pgd-linf') or configs, or attacks by name; by default those that the config names for its
            own test loop and evaluation hooks.
        checks: sanity checks to make, such as ``SanityChecks(PGD('linf', '1/255'))``.
        surrogate: config and checkpoint of the model on which the attacks are made; by default the evaluated one.
        name: name of the config in the report; by default its file, or its ``work_dir`` if it has none.
        seed: seed of attacks that are given as presets or configs; by default their own, which is 0.
        **options: further arguments of :class:`AttackTestLoop`, such as ``max_samples`` and ``resume``; where one is
            None, what the config states for its own loop or hooks.

    Raises:
        ValueError: if an argument does not fit, or the config cannot be built or has no test set or metrics.
        TypeError: if the config names a runner of another kind than MMEngine's.
        OSError: if something cannot be read or written.
    """
    repair_process()
    config = config.copy() if isinstance(config, Config) else Config.fromfile(config)
    if config.get('work_dir') is None:
        config.work_dir = str(Path('work_dirs') / Path(config.filename or 'evaluation').stem)
    if not isinstance(attacks, Mapping):
        attacks = build_attacks(attacks_of(config) if attacks is None else listed(attacks), seed=seed)
    other = None if surrogate is None else load_model(*surrogate)
    runner = build_test_runner(config, attacks=attacks, checks=checks, surrogate=other, **options)
    load_for_evaluation(unwrapped(runner.model), checkpoint)
    start = time.monotonic()
    loop: Any = runner.test_loop
    result = run_test(runner, loop)
    more = dict(config=name or str(config.filename or config.work_dir), checkpoint=checkpoint, seed=seed or 0)
    return EvaluationReport(_document(loop, result, time.monotonic() - start, _made_on(surrogate), **more), result)


def attacks_of(config: Config) -> list[str | dict]:
    """Return the attacks that the config's own test loop and evaluation hooks name, without repetition."""
    found: list[str | dict] = []
    for attack in (attack for part in _evaluating(config) for attack in listed(part.get('attacks'))):
        if attack not in found:
            found.append(attack)
    return found


def build_test_runner(config: Config, **options: Any) -> Runner:
    """Build a runner whose test is an :class:`AttackTestLoop`, without hooks that evaluate attacks as well.

    Args:
        config: config of the model, the data and the metrics; it is changed.
        **options: arguments of the loop; where one is None, what the config states for its own loop or hooks.

    Raises:
        ValueError: if the config has no test set or no metrics, or cannot be built.
        TypeError: if it names a runner of another kind than MMEngine's.
        OSError: if nothing can be written to the folder of the run.
    """
    missing = [name for name in ('test_dataloader', 'test_evaluator') if not config.get(name)]
    if missing:
        raise InputError(f'config {config.filename} has no {" and no ".join(missing)}, which a test needs; add it.')
    half = (config.get('test_cfg') or {}).get('fp16', False)
    if not isinstance(half, bool):
        raise InputError(f'test_cfg.fp16 of config {config.filename} must be True or False; got {half!r}.')
    stated = {
        name: part[name] for part in reversed(_evaluating(config)) for name in STATED if part.get(name) is not None
    }
    options = {**stated, **{name: value for name, value in options.items() if value is not None}}
    config.load_from, config.resume = None, False
    config.custom_hooks = [hook for hook in config.get('custom_hooks') or [] if not _evaluates(hook)]
    config.default_hooks = {
        name: hook for name, hook in (config.get('default_hooks') or {}).items() if not _evaluates(hook)
    }
    config.test_cfg = dict(type='TestLoop', fp16=half)
    runner = build_runner_and_model(config)
    with building(config):
        runner._test_loop = runner.build_test_loop(dict(type=AttackTestLoop.__name__, fp16=half, **options))
    return runner


def run_test(runner: Runner, loop: AttackTestLoop) -> EvaluationResult:
    """Run a test, with the hooks of its runner, and return its result."""
    runner._test_loop = loop
    runner.test()
    assert loop.result is not None
    return loop.result


def _document(
    loop: AttackTestLoop, result: EvaluationResult, seconds: float, made_on: dict[str, str] | None, **more: Any
) -> dict[str, Any]:
    """Return the document of a test that took ``seconds``; those of an attack include all processes and resumes."""
    model = unwrapped(loop.runner.model)
    evaluation = describe_evaluation(
        result.clean,
        model,
        device=str(next(model.parameters()).device),
        craft_dtype=loop.crafting.dtype or 'float32',
        protocol=loop.protocol,
        made_on=made_on,
        processes=get_world_size(),
        seconds=round(seconds, 1),
        resumed=result.resumed,
        selection=selection_of(result.samples, len(loop.dataloader.dataset)),
        pixel_range=result.pixel_range and list(result.pixel_range),
        date=datetime.now().astimezone().isoformat(timespec='seconds'),
    )
    shown = {name: result.by_attack[name] for name in (CLEAN, *result.attacks)}
    return build_report(
        result.metrics,
        result.attacks,
        samples=result.samples,
        by_attack=result.by_attack,
        evaluation=evaluation,
        per_class=per_class_section(shown, (loop.evaluator.dataset_meta or {}).get('classes')),
        sanity=[asdict(verdict) for verdict in result.verdicts],
        **more,
    )


def _made_on(surrogate: tuple[Config | str | Path, str] | None) -> dict[str, str] | None:
    """Return config and checkpoint of a surrogate for the report."""
    if surrogate is None:
        return None
    config, checkpoint = surrogate
    return {'config': str(getattr(config, 'filename', config) or 'a config'), 'checkpoint': checkpoint}


def _evaluating(config: Config) -> list[Mapping[str, Any]]:
    """Return the configs of the attack test loop and of the evaluation hooks."""
    loop = config.get('test_cfg') or {}
    hooks = [*(config.get('default_hooks') or {}).values(), *(config.get('custom_hooks') or [])]
    return [part for part in (loop, *hooks) if _evaluates(part)]


def _evaluates(hook: Any) -> bool:
    """Tell whether a config is of an evaluation hook or the attack test loop, by class or by name."""
    kind = hook.get('type') if isinstance(hook, dict) else None  # None: a default hook that is left out
    name = kind.__name__ if isinstance(kind, type) else str(kind).rpartition('.')[2]
    return name in (AttackEvaluationHook.__name__, AttackTestLoop.__name__)
