"""Test a trained method under the attacks of the table, with samat_mm's own test loop."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from records import Deadline
from torch import Tensor

from cifar10.settings import ATTACKS, PASSES, Files, Settings
from samat_mm.api.test_runner import build_test_runner, run_test
from samat_mm.checkpoints.loading import load_for_evaluation
from samat_mm.engine.loops import AttackTestLoop
from samat_mm.engine.loops.evaluation_folder import FOLDER
from samat_mm.evaluation.fingerprint import FILE
from samat_mm.perturbations.inputs import Attack
from samat_mm.presets import build_attacks

BATCH = 250  # also the size of the parts of AutoAttack, which takes minutes for all images
DOUBT = 2  # how many times as fast as training a test may be; starting the last test in vain does no harm
NATURAL, ALL = 'natural', 'natural, all images'


def evaluate(
    settings: Settings,
    files: Files,
    deadline: Deadline,
    seconds_per_pass: float,
    report: Callable[[dict[str, dict[str, Any]]], None],
) -> bool:
    """Test the checkpoint of a method; return whether everything but natural accuracy on all test images is done.

    Results from before a kill are reused, because the loop saves the result of each image.

    Args:
        settings: settings of the run.
        files: files of the method.
        deadline: no test starts that is expected to end after it; a test that overruns is stopped by the parent.
        seconds_per_pass: time of one pass of one image, in training; a running test estimates its own remaining time.
        report: called with the results so far after each test.
    """
    runner = _runner(settings, files)
    results: dict[str, dict[str, Any]] = {}
    spent = {name: passes * seconds_per_pass / DOUBT for name, passes in PASSES.items()}  # per image
    left_out = set()
    for name, attack, first, last in _tests(settings, len(runner.test_dataloader.dataset)):
        # All images are a courtesy, which may take a tenth of what AutoAttack has left.
        expected = 10 * (last - first) * spent[NATURAL] if name == ALL else (last - first) * spent[name]
        if not deadline.allows(expected):
            print(f'{name}: images {first} to {last} are left out, for {expected:.0f} s.', flush=True)
            left_out.add(name)
            continue
        start = time.perf_counter()
        found = _test(runner, settings, files, attack, last)
        parts = {**results.get(name, {}).get('parts', {}), str(last): found['accuracy']}
        results[name] = {**found, 'images': last, 'parts': parts}
        spent[name] = (time.perf_counter() - start) / (last - first)
        report(results)
    return left_out <= {ALL}


def _tests(settings: Settings, everything: int) -> Iterator[tuple[str, dict[str, Attack], int, int]]:
    """Yield the tests in order: name, attack, and which images are new, from the first to before the last."""
    images = min(settings.test_images, everything)
    yield NATURAL, {}, 0, images
    for name in settings.attacks:
        if name == 'autoattack' and everything > images:
            yield ALL, {}, images, everything
        attack = build_attacks([ATTACKS[name]], seed=settings.seed)
        step = BATCH if name == 'autoattack' else images
        for first in range(0, images, step):
            yield name, attack, first, min(first + step, images)


def _test(runner: Runner, settings: Settings, files: Files, attack: dict[str, Attack], images: int) -> dict[str, Any]:
    """Test the first images under an attack, or clean; images whose result is known are not tested again."""
    loop = AttackTestLoop(
        runner,
        runner.test_dataloader,
        runner.test_evaluator,
        attacks=attack,
        craft_dtype=settings.craft_dtype,
        numbers=range(images),
        resume=any(files.folder.glob(f'{FOLDER}/*/{FILE}')),
    )
    result = run_test(runner, loop).by_attack[next(iter(attack), 'clean')]
    found = {key: round(value, 2) for key, value in result.cost().items()}
    found['craft_dtype'] = settings.craft_dtype or 'float32'
    return {'accuracy': round(result.metrics['accuracy/top1'], 4), **(found if attack else {})}


def _runner(settings: Settings, files: Files) -> Runner:
    """Return a runner that tests the weights of the checkpoint."""
    config = Config.fromfile(settings.model)
    config.work_dir, config.launcher = str(files.folder), 'none'
    config.test_evaluator = dict(type='Accuracy', topk=(1,))
    config.test_dataloader = dict(
        batch_size=BATCH,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(type='JpegCIFAR10', data_file=settings.data, split='test', most=settings.images),
    )
    runner = build_test_runner(config)
    load_for_evaluation(runner.model, str(files.checkpoint))
    _decide_on_the_cpu(runner.model.head)
    return runner


def _decide_on_the_cpu(head: Any) -> None:
    """Copy the scores and labels of a batch to the CPU at once; metrics copy those of each image.

    Each copy waits for the other processes, which takes most of the time of a test of a thousand images on a shared
    GPU.
    """
    decide = head._get_predictions

    def decided(scores: Tensor, samples: list[Any]) -> list[Any]:
        if not all('gt_label' in sample for sample in samples):  # without labels there is no score
            return decide(scores, samples)
        labels = torch.cat([sample.gt_label for sample in samples]).cpu()
        for sample, label in zip(samples, labels.split(1), strict=True):
            sample.set_gt_label(label)
        return decide(scores.cpu(), samples)

    head._get_predictions = decided
