"""Measure whether attacks on the fast copy are as strong as on the model itself, with a real model and real images.

    python benchmarks/crafting_strength.py CONFIG CHECKPOINT [--attack pgd-linf pgd-l2] [--steps 20] [--max-samples 20]
        [--seeds 0 1] [--dtypes float32 bfloat16 mixed] [--out FILE.json] [--cfg-options ...]

Every image is attacked on the model itself and on its copies, from the same starts, and scored by the model itself in
float32. Each row has the metric for each seed, to compare a difference with the effect of the random start. "weaker"
and "stronger" are the shares of images, over all seeds, with fewer or more wrong labels than when crafted on the model
itself: by any number, and in brackets by more than one label in a hundred. "CPU s" is the processor time of the
attacks, without scoring.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import show
from mmengine.runner import Runner
from rich.progress import track
from torch import Tensor

from samat_mm.checkpoints.loading import load_for_evaluation
from samat_mm.command_line.arguments import add_run_arguments, check_run_arguments, config_of
from samat_mm.command_line.endings import errors_as_sentences
from samat_mm.crafting.crafting import PRECISIONS, Crafting
from samat_mm.evaluation.attack_result import attack_result
from samat_mm.evaluation.attack_run import AttackRun
from samat_mm.evaluation.attacked_batch import AttackedBatch
from samat_mm.evaluation.images import read_batches
from samat_mm.evaluation.metric_copies import evaluator_for
from samat_mm.evaluation.subsets import chosen_images
from samat_mm.perturbations.inputs import Attack
from samat_mm.pixels.pixel_space import PixelSpace
from samat_mm.presets import build_attacks
from samat_mm.visualization.document import main_metric

MODEL = 'the model itself'


class OnTheModel:
    """The interface of :class:`Crafting`, without a copy."""

    def attack(self, space: PixelSpace, attack: Attack, indices: Sequence[int]) -> Tensor:
        """Return adversarial pixels."""
        return space.attack(attack, indices)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_run_arguments(parser)
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--attack', nargs='+', default=['pgd-linf'])
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--dtypes', nargs='+', choices=list(PRECISIONS), default=list(PRECISIONS))
    parser.add_argument('--steps', type=int, help="steps of the attacks; default: the preset's")
    parser.add_argument('--max-samples', type=int)
    parser.add_argument('--out', type=Path, metavar='FILE.json')
    args = parser.parse_intermixed_args()
    with errors_as_sentences():
        measure(args)


def measure(args: Any) -> None:
    check_run_arguments(args)
    config = config_of(args)
    config.load_from, config.test_cfg = None, dict(type='TestLoop')
    runner = Runner.from_cfg(config)
    model, loop = runner.model.eval(), runner.test_loop
    load_for_evaluation(model, args.checkpoint)
    ways: dict[str, Any] = {MODEL: OnTheModel(), **{f'{dtype} copy': Crafting(model, dtype) for dtype in args.dtypes}}
    runs = [(name, way, seed) for name in args.attack for way in ways for seed in args.seeds]
    attacks = {(name, seed): build_attacks([name], seed=seed, steps=args.steps)[name] for name, _, seed in runs}
    attack_runs = {
        (name, way, seed): AttackRun(name, attacks[name, seed], ways[way], evaluator_for(name, loop.evaluator))
        for name, way, seed in runs
    }
    scores: dict[Any, list[Any]] = {run: [] for run in runs}
    seconds = dict.fromkeys(runs, 0.0)
    images = chosen_images(len(loop.dataloader.dataset), args.max_samples)
    batches = read_batches(loop.dataloader, images)
    for numbers, data_batch in track(batches, 'attacking', total=-(-len(images) // (loop.dataloader.batch_size or 1))):
        batch = AttackedBatch(model, data_batch)
        for run, attack_run in attack_runs.items():
            start = time.process_time()
            pixels = attack_run.crafting.attack(batch.space, batch.task.fitted(attack_run.attack), numbers)
            seconds[run] += time.process_time() - start
            scores[run] += attack_run.score(batch, pixels, start)[1]
    rows, results = [], {}
    for name in args.attack:
        for way in ways:
            found = [
                attack_result(attack_runs[name, way, seed].evaluator, scores[name, way, seed]) for seed in args.seeds
            ]
            metric = main_metric({'results': {'clean': {key: float(value) for key, value in found[0].metrics.items()}}})
            spent = sum(seconds[name, way, seed] for seed in args.seeds) / len(args.seeds)
            values = [float(result.metrics[metric]) for result in found]
            rows.append(
                {
                    'attack': name,
                    'crafted on': way,
                    f'{metric}, seeds {", ".join(map(str, args.seeds))}': ', '.join(f'{value:.2f}' for value in values),
                    'loss': ', '.join(f'{result.loss:.4f}' for result in found),
                    **differences(
                        [score.wrong for seed in args.seeds for score in scores[name, way, seed]],
                        [score.wrong for seed in args.seeds for score in scores[name, MODEL, seed]],
                    ),
                    'CPU s': f'{spent:.0f}',
                }
            )
            results[f'{name}, {way}'] = {
                metric: values,
                'loss': [result.loss for result in found],
                'cpu_seconds': spent,
            }
    show(f'{Path(args.config).stem}, {len(images)} images', rows)
    if args.out:
        args.out.write_text(json.dumps(results, indent=2) + '\n', encoding='utf-8')


def differences(wrong: list[float], reference: list[float]) -> dict[str, str]:
    """Return the percentages of images that are less and more wrong than in the reference."""
    pairs = list(zip(wrong, reference, strict=True))

    def share(than: float, sign: int) -> float:
        return 100 * sum(sign * (ours - theirs) > than for ours, theirs in pairs) / len(pairs)

    return {name: f'{share(0, sign):.2f} ({share(0.01, sign):.2f})' for name, sign in (('weaker', -1), ('stronger', 1))}


if __name__ == '__main__':
    main()
