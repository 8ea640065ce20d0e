"""Compare methods trained alike: metric, robustness and sharpness.

    python benchmarks/flatness.py digits [--seeds 0 1 2] [--methods sgd sam ...] [--out flatness_digits.json]
    python benchmarks/flatness.py cifar10-subset

Every cell is the mean over the seeds with the sample standard deviation. All methods take the same number of optimizer
steps; "sgd 2x" takes twice as many, to match SAM's gradients. Training (``samat-mm train --amp``; without it in the
rows "fp32", where only the ascent is made cheaper), attacks (``samat-mm test``) and sharpness (``samat-mm sharpness``)
run one after another in ``work_dirs/flatness``. Existing results are reused, and a killed training continues.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import show

ROOT = Path(__file__).resolve().parents[1]
WORK = Path('work_dirs/flatness')


@dataclass(frozen=True)
class Study:
    """A data set with its configs, budget and attacks."""

    configs: str
    steps: int
    attacks: tuple[str, ...]
    metric: str
    rho: float
    batches: int

    def budget(self, factor: int = 1) -> tuple[str, ...]:
        """Return the options of a run with ``factor`` times the steps."""
        steps = factor * self.steps
        return (f'train_cfg.max_iters={steps}', f'train_cfg.val_interval={steps}', f'param_scheduler.1.end={steps}')


STUDIES = {
    'digits': Study('configs/deeplabv3_digits_{}.py', 600, ('pgd-linf', 'pgd-l2'), 'mIoU', 0.05, 3),
    'cifar10-subset': Study(
        'benchmarks/configs/resnet20_cifar10-subset_{}.py',
        2200,
        ('pgd-linf', 'pgd-l2-classification'),
        'accuracy/top1',
        0.1,
        2,
    ),
}


@dataclass(frozen=True)
class Row:
    """A row of the table: a config, and the extra arguments of ``samat-mm train``."""

    config: str
    options: tuple[str, ...]
    flags: tuple[str, ...] = ('--amp',)


def methods(study: Study) -> dict[str, Row]:
    """Return the rows of the table by name."""
    names = ('sgd', 'sam', 'asam', 'esam', 'looksam')
    configs = {name: study.configs.format(name) for name in names}
    once = study.budget()
    rows = {name: Row(config, once) for name, config in configs.items()}
    rows['late sam'] = Row(configs['sam'], (*once, 'optim_wrapper.last=0.1'))
    for name, (kind, rho) in {
        'msam': ('MSAM', study.rho),
        'msam, rho x 10': ('MSAM', 10 * study.rho),
        'stalesam': ('StaleSAM', study.rho),
    }.items():
        method = ('type=SAMOptimWrapper', f'perturbation.type={kind}', f'perturbation.rho={rho}')
        rows[name] = Row(configs['sgd'], (*once, *(f'optim_wrapper.{option}' for option in method)))
    rows['sgd 2x'] = Row(configs['sgd'], study.budget(2))
    rows['esam by loss'] = Row(configs['esam'], (*once, 'optim_wrapper.selection=loss'))
    for name, alpha in {'looksam': 0.7, 'looksam, alpha .1': 0.1}.items():
        rows[name] = Row(configs['looksam'], (*once, f'optim_wrapper.perturbation.alpha={alpha}'))
    rows['sam fp32'] = Row(configs['sam'], once, ())
    rows['sam fp32, bfloat16 ascent'] = Row(configs['sam'], (*once, 'optim_wrapper.ascent_dtype=bfloat16'), ())
    rows['sam fp32, half ascent'] = Row(configs['sam'], (*once, 'optim_wrapper.ascent_share=0.5'), ())
    return rows


def tool(name: str, *arguments: str) -> float:
    """Run a tool quietly and return the seconds it took.

    Raises:
        RuntimeError: with the end of its output, if it fails.
    """
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(ROOT / 'tools' / name), *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f'tools/{name} {" ".join(arguments)} failed:\n{(done.stdout + done.stderr)[-3000:]}')
    return time.monotonic() - start


def run(study: Study, label: str, row: Row, seed: int, folder: Path) -> dict[str, float]:
    """Train, attack and measure one model, and return its numbers."""
    train, report, sharp = folder / 'train', folder / 'report.json', folder / 'sharpness.json'
    chosen = ('--cfg-options', f'randomness.seed={seed}', *row.options)
    last = train / 'last_checkpoint'
    if not (folder / 'trained.json').exists():
        seconds = tool('train.py', row.config, *row.flags, '--resume', '--work-dir', str(train), *chosen)
        (folder / 'trained.json').write_text(json.dumps({'seconds': seconds}))
    checkpoint = last.read_text(encoding='utf-8').strip()
    if not report.exists():
        attacks = ('--attack', *study.attacks, '--work-dir', str(folder / 'test'))
        tool('test.py', row.config, checkpoint, *attacks, '--out', str(report))
    if not sharp.exists():
        radii = (
            '--rho',
            str(study.rho),
            '--asam-rho',
            str(10 * study.rho),
            '--batches',
            str(study.batches),
            '--seed',
            '0',
        )
        tool('sharpness.py', row.config, checkpoint, *radii, '--out', str(sharp))
    results = json.loads(report.read_text(encoding='utf-8'))['results']
    numbers = {name: values[study.metric] for name, values in results.items()}
    sharpness: dict[str, Any] = json.loads(sharp.read_text(encoding='utf-8'))['results']
    numbers.update({name: float('nan') if value is None else value for name, value in sharpness.items()})
    print(f'{label}, seed {seed}: ' + ', '.join(f'{name} {value:.4g}' for name, value in numbers.items()), flush=True)
    return numbers


def cell(values: list[float]) -> str:
    """Return mean and sample standard deviation."""
    spread = f' ± {statistics.stdev(values):.2g}' if len(values) > 1 else ''
    return f'{statistics.mean(values):.4g}{spread}'


def main() -> None:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('study', choices=list(STUDIES))
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--methods', nargs='+', help='rows of the table; default: all')
    parser.add_argument('--out', type=Path, metavar='FILE.json', help='write the numbers of every run')
    args = parser.parse_args()
    study = STUDIES[args.study]
    rows = methods(study)
    unknown = set(args.methods or ()) - set(rows)
    if unknown:
        parser.error(f'--methods must be among {", ".join(rows)}; got {", ".join(sorted(unknown))}.')
    numbers: dict[str, list[dict[str, float]]] = {name: [] for name in args.methods or rows}
    for seed in args.seeds:
        for name, found in numbers.items():
            folder = WORK / args.study / f'{name.replace(",", "").replace(" ", "-")}_{seed}'
            folder.mkdir(parents=True, exist_ok=True)
            found.append(run(study, name, rows[name], seed, folder))
    columns = list(next(iter(numbers.values()))[0])
    show(
        f'{args.study}, {len(args.seeds)} seeds',
        [
            {'method': name, **{column: cell([entry[column] for entry in found]) for column in columns}}
            for name, found in numbers.items()
        ],
    )
    if args.out:
        args.out.write_text(json.dumps({'seeds': args.seeds, 'runs': numbers}, indent=2) + '\n')


if __name__ == '__main__':
    main()
