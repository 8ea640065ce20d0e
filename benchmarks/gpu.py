"""Test, measure and train on a machine with one CUDA device, within a given time.

    python benchmarks/gpu.py --minutes 10 --out gpu [--pack gpu-pack.tar] [--data cifar10_jpeg.npz]
    python benchmarks/gpu.py pack --out gpu-pack.tar [--data cifar10_jpeg.npz]

The parts, in this order: the CUDA tests, the cost of training steps, the cost of attacks, and a row of the paper's
table 2 on CIFAR-10, which needs images. Each part must end by its share of the time and is stopped otherwise; time that
it leaves goes to the later parts. All results are written immediately, so a run that is cut off keeps them:
``gpu.json`` has the state of each part, ``gpu.log`` has their output, and each part has its own file.

``pack`` writes an archive of at most 45 MiB for a machine without a network: wheels, and CIFAR-10 images in jpeg form.
``--pack`` first unpacks and installs it into a temporary folder.

Exit status: 0 if every part ended well, 1 if one did not, and 2 if there is no CUDA device.
"""

import argparse
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from gpu_parts import PARTS, ROOT, Record, Setting, run
from records import Deadline, hardware

# mmengine and mmsegmentation import these where they are installed. That costs each process seconds for one optimizer
# and one backbone that nothing uses here, and may fail with versions that they do not know.
LEFT_OUT = ('transformers', 'timm')


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--minutes', type=float, default=10, help='total time of the run; default 10')
    parser.add_argument('--out', type=Path, default=Path('gpu'), metavar='DIR', help="results folder; default 'gpu'")
    parser.add_argument('--device', choices=['cuda', 'cpu'], default='cuda', help='cpu: tiny sizes, to test the parts')
    parser.add_argument('--pack', type=Path, metavar='FILE.tar', help='archive written by `gpu.py pack`')
    parser.add_argument('--data', type=Path, metavar='FILE.npz', help='CIFAR-10 as jpeg; default: from the pack')
    parser.add_argument('--parts', nargs='+', choices=[part.name for part in PARTS], help='all by default')
    return parser.parse_args()


def main() -> int:
    args = parse()
    deadline = Deadline(args.minutes)
    if args.device == 'cuda' and not has_cuda():
        print('There is no CUDA device here, so there is nothing to test, measure or train on.', file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # stop the running part and record that
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    record = Record(out / 'gpu.json', minutes=args.minutes, machine=hardware(args.device))
    with tempfile.TemporaryDirectory() as folder:
        data = args.data
        if args.pack is not None:
            with record.part('install', [args.pack.name]) as entry:
                packed = install(args.pack, Path(folder))
                entry['state'] = 'done'
            data = data or packed
        setting = Setting(
            minutes=args.minutes,
            deadline=deadline,
            device=args.device,
            data=data and data.resolve(),
            out=out,
            work_dir=Path(folder) / 'work_dirs',
            environment=environment(),
        )
        for part in PARTS:
            if args.parts is None or part.name in args.parts:
                run(part, setting, record)
    return 0 if record.finish() else 1


def has_cuda() -> bool:
    import torch  # not needed for `pack`, or by a process that only starts others

    return torch.cuda.is_available()


def install(archive: Path, folder: Path) -> Path | None:
    """Unpack the archive of ``pack``, make its wheels importable, and return its images if it has any."""
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter='data')
    wheels = sorted(str(wheel) for wheel in (folder / 'wheels').glob('*.whl'))
    pip = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-index', '--no-deps', '--no-compile']
    site = folder / 'site'
    subprocess.run([*pip, '--target', str(site), *wheels], check=True)
    for name in LEFT_OUT:
        (site / f'{name}.py').write_text(f"raise ImportError('{name} is left out')\n", encoding='utf-8')
    sys.path.insert(0, str(site))
    return next(folder.glob('*.npz'), None)


def environment() -> dict[str, str]:
    """Return an environment in which other processes find the same packages as this one, and samat-mm."""
    paths = [str(ROOT), *(path for path in sys.path if path)]
    return {
        **os.environ,
        'CUBLAS_WORKSPACE_CONFIG': ':4096:8',  # deterministic tests need it before CUDA starts
        'PYTEST_DISABLE_PLUGIN_AUTOLOAD': '1',  # ignore the plugins of the machine
        'PYTHONPATH': os.pathsep.join(paths),
        'PYTHONUNBUFFERED': '1',
    }


if __name__ == '__main__':
    if sys.argv[1:2] == ['pack']:
        from gpu_pack import main as pack

        sys.exit(pack(sys.argv[2:]))
    sys.exit(main())
