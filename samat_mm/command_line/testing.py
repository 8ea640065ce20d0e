"""A test under attacks, from a config to a report: what ``tools/test.py`` does between parsing and printing."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from mmengine.config import Config
from mmengine.dist import get_world_size
from mmengine.runner import Runner

from samat_mm.command_line import build_runner_and_model
from samat_mm.command_line.config_errors import building
from samat_mm.crafting.crafting import Crafting
from samat_mm.engine.hooks import AttackEvaluationHook
from samat_mm.engine.loops import AttackTestLoop
from samat_mm.errors import InputError
from samat_mm.evaluation import build_report, describe_evaluation, per_class_section
from samat_mm.evaluation.images import first_item, is_openmmlab_item
from samat_mm.evaluation.sanity import TRANSFER, SanityChecks, Verdict, surrogate
from samat_mm.evaluation.subsets import selection_of
from samat_mm.evaluation.trials import CLEAN
from samat_mm.model_state import unwrapped
from samat_mm.perturbations.inputs import PGD, Attack
from samat_mm.presets import build_attacks, listed
from samat_mm.tasks import Classification, task_of

STATED = ('pixel_range', 'craft_dtype', 'max_samples')  # settings that numbers depend on


def attacks_of_hooks(config: Config) -> list[str | dict]:
    """Return the attacks that the config's own test loop and evaluation hooks name, those that they share once."""
    found: list[str | dict] = []
    for attack in (attack for part in _evaluating(config) for attack in listed(part.get('attacks'))):
        if attack not in found:
            found.append(attack)
    return found


def _evaluating(config: Config) -> list[Mapping[str, Any]]:
    """Return the configs of the attack test loop and of the evaluation hooks."""
    loop = config.get('test_cfg') or {}
    hooks = [*(config.get('default_hooks') or {}).values(), *(config.get('custom_hooks') or [])]
    return [part for part in (loop, *hooks) if _evaluates(part)]


def build_test_runner(config: Config, attacks: Mapping[str, Attack], **options: Any) -> Runner:
    """Build a runner whose test is an :class:`AttackTestLoop`, and no hook evaluates attacks beside it.

    Args:
        config: of the model, the data and the metrics; it is changed.
        attacks: by name.
        **options: further arguments of the loop; where one is None, what the config states for its own loop or hooks.

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
    stated = {name: part[name] for part in reversed(_evaluating(config)) for name in STATED if part.get(name)}
    options = {**stated, **{name: value for name, value in options.items() if value is not None}}
    config.load_from, config.resume = None, False
    config.custom_hooks = [hook for hook in config.get('custom_hooks') or [] if not _evaluates(hook)]
    config.default_hooks = {
        name: hook for name, hook in (config.get('default_hooks') or {}).items() if not _evaluates(hook)
    }
    config.test_cfg = dict(type=AttackTestLoop.__name__, fp16=half, **options)
    runner = build_runner_and_model(config)
    with building(config):
        runner.test_loop.attacks.update(attacks)
    return runner


def add_sanity_checks(loop: AttackTestLoop, **parameters: Any) -> SanityChecks:
    """Have a loop run the attacks of the sanity checks too: of its first PGD, or of the preset pgd-linf.

    Args:
        loop: with the weights that are tested.
        **parameters: of the preset, as :func:`samat_mm.presets.build_attacks` takes them.

    Raises:
        ValueError: if its attacks have no radius to vary.
    """
    model, attacks = unwrapped(loop.runner.model), list(loop.attacks.values())
    attacks = attacks or list(build_attacks(['pgd-linf'], **parameters).values())
    white = next((attack for attack in attacks if isinstance(attack, PGD)), attacks[0])
    first = first_item(loop.dataloader.dataset, loop.numbers)
    if not is_openmmlab_item(first):
        raise InputError(
            f'--sanity attacks images, and the items of {type(loop.dataloader.dataset).__name__} are not '
            'dict(inputs=image, data_samples=...); leave it out.'
        )
    task = task_of(model, [first['data_samples']], loop.evaluator.metrics)
    checks = SanityChecks(white, isinstance(task, Classification))
    loop.checks = checks.attacks()
    loop.others[TRANSFER] = Crafting(surrogate(model), loop.crafting.dtype)
    return checks


def report_of(
    loop: AttackTestLoop,
    metrics: Mapping[str, Any],
    verdicts: list[Verdict],
    *,
    config: str,
    checkpoint: str,
    seed: int,
    seconds: float,
) -> dict[str, Any]:
    """Return the document that ``tools/test.py --out`` writes; see :func:`samat_mm.evaluation.build_report`.

    Args:
        loop: after its run.
        metrics: that it returned.
        verdicts: of the sanity checks.
        config: the config's path.
        checkpoint: the checkpoint's path.
        seed: of the random starts.
        seconds: wall time of this run; that of each attack is what all processes spent on it, also before a resume.
    """
    model = unwrapped(loop.runner.model)
    evaluation = describe_evaluation(
        loop.outcomes[CLEAN],
        model,
        device=str(next(model.parameters()).device),
        craft_dtype=loop.crafting.dtype or 'float32',
        processes=get_world_size(),
        seconds=round(seconds, 1),
        resumed=loop.resumed,
        selection=selection_of(loop.samples, len(loop.dataloader.dataset)),
        pixel_range=loop.range_in_use and list(loop.range_in_use),
        date=datetime.now().astimezone().isoformat(timespec='seconds'),
    )
    shown = {name: loop.outcomes[name] for name in (CLEAN, *loop.attacks)}
    return build_report(
        metrics,
        loop.attacks,
        config=config,
        checkpoint=checkpoint,
        seed=seed,
        samples=loop.samples,
        outcomes=loop.outcomes,
        evaluation=evaluation,
        per_class=per_class_section(shown, (loop.evaluator.dataset_meta or {}).get('classes')),
        sanity=[asdict(verdict) for verdict in verdicts],
    )


def _evaluates(hook: Any) -> bool:
    """Tell whether a config is that of an evaluation hook or of the attack test loop, by class or by name."""
    kind = hook.get('type') if isinstance(hook, dict) else None  # None: a default hook that is left out
    name = kind.__name__ if isinstance(kind, type) else str(kind).rpartition('.')[2]
    return name in (AttackEvaluationHook.__name__, AttackTestLoop.__name__)
