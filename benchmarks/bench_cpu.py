"""Measure the cost of training steps and attacks on this processor, in one file; ``make bench-cpu`` runs it.

    python benchmarks/bench_cpu.py [--minutes 10] [--out docs/bench_cpu.json]

Runs PGD-10 on ResNet-18 and DeepLabv3-R50 in float32 and bfloat16, compared with torchattacks and SemSegBench's loop,
and then the main rows of the training step, on one thread. Times are processor time of the process, which other
programs on the machine disturb less than wall time. The report names the processor and its instructions for bfloat16.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from common import circumstances
from costs.numerics import PLAIN
from costs.training_steps import BFLOAT16, HALF_ASCENT, REFERENCE
from records import Deadline, machine, write_json

FOLDER = Path(__file__).parent
PARTS: dict[str, tuple[float, list[str]]] = {  # share of the time, and command
    'attack_cost': (0.75, ['--attacks', 'pgd', '--rounds', '2']),
    'step_cost': (1, ['--methods', BFLOAT16, 'SAM', REFERENCE, HALF_ASCENT, '--rounds', '5']),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--minutes', type=float, default=10, help='total time')
    parser.add_argument('--models', nargs='+', default=['deeplabv3', 'resnet18'], help='the faster one first')
    parser.add_argument('--out', type=Path, default=FOLDER.parent / 'docs' / 'bench_cpu.json', metavar='FILE.json')
    args = parser.parse_args()
    circumstances('cpu', 1)
    deadline = Deadline(args.minutes)
    parts: dict[str, dict] = {}
    statuses = []
    for name, (share, options) in PARTS.items():
        out = args.out.with_name(f'.{args.out.stem}.{name}.json')
        minutes = str(share * deadline.left() / 60)
        shared = ['--models', *args.models, '--numerics', PLAIN, '--minutes', minutes, '--out', str(out)]
        statuses.append(subprocess.run([sys.executable, str(FOLDER / f'{name}.py'), *options, *shared]).returncode)
        parts[name] = json.loads(out.read_text()) if out.exists() else {'complete': False}
        out.unlink(missing_ok=True)
        complete = len(parts) == len(PARTS) and all(part['complete'] for part in parts.values())
        write_json(args.out, {'machine': machine('cpu'), 'complete': complete, **parts})
    return max(statuses)


if __name__ == '__main__':
    raise SystemExit(main())
