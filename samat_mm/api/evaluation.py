"""Evaluate a model, clean and under attacks: from a config to a report."""

import copy
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import get_world_size
from torch import nn

from samat_mm.api.test_runner import attacks_of, build_test_runner, run_test
from samat_mm.checkpoints.loading import load_for_evaluation
from samat_mm.engine.loops import EvaluationLoop
from samat_mm.errors import InputError
from samat_mm.evaluation import EvaluationResult, SanityChecks, build_report, describe_evaluation, per_class_section
from samat_mm.evaluation.attack_run import CLEAN
from samat_mm.evaluation.provenance import file_digest, provenance
from samat_mm.evaluation.subsets import selection_of
from samat_mm.files.inputs import checkpoint_file
from samat_mm.model_state import frozen, unwrapped
from samat_mm.perturbations.parametrized import SeededAttack
from samat_mm.perturbations.units import Radii
from samat_mm.presets import build_attacks, listed
from samat_mm.reports import Report
from samat_mm.runners.builders import load_model
from samat_mm.runners.config_files import load_config
from samat_mm.runners.console import announce, console_of

IN_MEMORY = 'a model in memory'  # the checkpoint of such a model in reports


def evaluate(
    config: Config | str | Path,
    checkpoint: str | Path | nn.Module,
    attacks: Sequence[str | dict] | Mapping[str, SeededAttack] | None = None,
    *,
    eps: Radii = (),
    seed: int | None = None,
    checks: SanityChecks | None = None,
    surrogate: tuple[Config | str | Path, str | Path] | None = None,
    name: str | None = None,
    work_dir: str | Path | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    verbose: bool = False,
    **options: Any,
) -> Report:
    """Evaluate a model, clean and under attacks.

    Args:
        config: config of the model, the data and the metrics, or its file; scores of images go to its ``work_dir``.
        checkpoint: a local checkpoint of that config, or the model itself, which stays as it was, except that MMEngine
            moves it to its device.
        attacks: presets ('pgd-linf') or configs, or attacks by name; by default those that the config names for its
            own test loop and evaluation hooks.
        eps: radius of attacks that are given as presets or configs, such as '4/255' or 4 / 255; several rising ones
            for a curve, or those of each norm, ``{'linf': '4/255', 'l2': '128/255'}``; by default their own.
        seed: seed of attacks that are given as presets or configs; by default their own, which is 0.
        checks: sanity checks to make, such as ``SanityChecks(PGD('linf', '1/255'))``.
        surrogate: config and checkpoint of the model on which the attacks are made; by default the evaluated one.
        name: name of the config in the report; by default its file, or its ``work_dir`` if it has none.
        work_dir: folder of the run; by default that of the config, or else ``work_dirs/NAME``.
        cfg_options: entries of the config to replace, by their dotted names.
        verbose: show MMEngine's log on the terminal, too.
        **options: further arguments of the loop, such as ``max_samples`` and ``resume``; where one is None, what the
            config states for its own loop or hooks.

    Raises:
        ValueError: if an argument does not fit, or the config cannot be built or has no test set or metrics.
        TypeError: if the config names a runner of another kind than MMEngine's.
        OSError: if something cannot be read or written.

    Example:
        >>> import samat_mm
        >>> report = samat_mm.evaluate('samat_mm::smallcnn_handwriting_sgd.py', 'sgd.pth', ['pgd-linf'], eps='8/255')
        >>> sorted(report.metrics)
        ['accuracy/top1', 'pgd-linf/accuracy/top1']
        >>> report.save('sgd.html')
    """
    model = unwrapped(checkpoint) if isinstance(checkpoint, nn.Module) else None
    source = checkpoint_file(checkpoint) if not isinstance(checkpoint, nn.Module) else unwrapped(checkpoint)
    if isinstance(attacks, Mapping) and attacks and (eps or seed is not None):
        raise InputError('eps and seed change attacks that are given by name or config; these are given as values.')
    named: dict[str, Any] = {'checkpoint': str(checkpoint) if model is None else IN_MEMORY}
    if name is None and not isinstance(config, Config):
        name = str(config)
    with console_of(verbose) as console, nullcontext() if model is None else frozen(model):
        config = load_config(config, options=cfg_options, work_dir=work_dir)
        if not isinstance(attacks, Mapping):
            attacks = build_attacks(attacks_of(config) if attacks is None else listed(attacks), eps, seed=seed)
        given = copy.deepcopy(config)  # which the runner changes
        other = None if surrogate is None else load_model(*surrogate)
        runner = build_test_runner(config, model, attacks=attacks, checks=checks, surrogate=other, **options)
        if model is None:
            load_for_evaluation(unwrapped(runner.model), str(source))
        start = time.monotonic()
        loop: Any = runner.test_loop
        named['provenance'] = provenance(given, source, 'test_dataloader', len(loop.dataloader.dataset))
        made_on = None if surrogate is None else _made_on(*surrogate)
        if not verbose:
            tested, whole = len(loop.numbers), len(loop.dataloader.dataset)
            use = 'to test' if tested == whole else f'in the test set, {tested:,} of them to test'
            announce(console, runner, {use: loop.dataloader}, attacks=', '.join(attacks) or 'none')
        result = run_test(runner, loop)
    named |= {'config': name or str(config.filename or config.work_dir), 'seed': _seed_of(attacks, seed)}
    return Report(_document(loop, result, time.monotonic() - start, made_on, **named), result)


def _document(
    loop: EvaluationLoop, result: EvaluationResult, seconds: float, made_on: dict[str, Any] | None, **more: Any
) -> dict[str, Any]:
    """Return the document of a test that took ``seconds``; those of an attack include all processes and resumes."""
    model = unwrapped(loop.runner.model)
    evaluation = describe_evaluation(
        result.clean,
        model,
        device=str(next(model.parameters()).device),
        unit=loop.unit,
        **loop.stated(),
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
        **result.sections,
        **more,
    )


def _made_on(config: Config | str | Path, checkpoint: str | Path) -> dict[str, Any]:
    """Return config and checkpoint of a surrogate for the report."""
    named = str(getattr(config, 'filename', config) or 'a config')
    return {'config': named, 'checkpoint': str(checkpoint), **file_digest(checkpoint_file(checkpoint))}


def _seed_of(attacks: Mapping[str, SeededAttack], seed: int | None) -> int | str:
    """Return the seed of the attacks; all of them, as text, if they differ."""
    seeds = sorted({attack.seed for attack in attacks.values()})
    return seeds[0] if len(seeds) == 1 else ', '.join(map(str, seeds)) or seed or 0
