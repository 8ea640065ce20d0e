"""The parts of a run on a GPU, each a process with a time limit, and the record of their states."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from records import Deadline, write_json

ROOT = Path(__file__).parents[1]
GRACE = 5.0  # seconds between the request to stop and the kill


@dataclass(frozen=True)
class Part:
    """A Python command, and the share of the total time by which it must be done.

    Args:
        name: name of the part.
        until: the share.
        command: its arguments, with the fields of :func:`arguments` in braces.
        tiny: further arguments on a CPU, which can only show that the parts run.
    """

    name: str
    until: float
    command: tuple[str, ...]
    tiny: tuple[str, ...] = ()

    @property
    def needs_data(self) -> bool:
        """Whether the part needs images."""
        return any('{data}' in text for text in self.command)


PARTS = (
    Part(
        'tests',
        0.28,
        (
            '-m',
            'pytest',
            'tests/cuda',
            '--device={device}',
            '--junitxml={out}/tests.xml',
            '--continue-on-collection-errors',
            '--durations=20',
            '-vv',  # prints the names, to identify a test that hangs
            '--override-ini=faulthandler_timeout=60',  # prints where it hangs
        ),
        ('-k', 'resume'),
    ),
    Part(
        'step-cost',
        0.42,
        ('benchmarks/step_cost.py', '--device={device}', '--minutes={minutes}', '--out={out}/step_cost.json'),
        ('--models=tiny', '--rounds=1'),
    ),
    Part(
        'attack-cost',
        0.54,
        ('benchmarks/attack_cost.py', '--device={device}', '--minutes={minutes}', '--out={out}/attack_cost.json'),
        ('--models=tiny', '--rounds=1'),
    ),
    Part(
        'cifar10-row',
        0.98,
        (
            'benchmarks/cifar10_row.py',
            '--device={device}',
            '--minutes={minutes}',
            '--data={data}',
            '--work-dir={work_dir}',
            '--out={out}/cifar10_row.json',
        ),
        ('--model=benchmarks/configs/tiny_cifar10.py', '--methods=sgd', '--images=32', '--epochs=1', '--attacks=fgsm'),
    ),
)


@dataclass(frozen=True)
class Setting:
    """The settings that the parts of a run share.

    Args:
        minutes: total time of the run.
        deadline: end of the run.
        device: 'cuda' or 'cpu'.
        data: CIFAR-10 in jpeg form, if there is any.
        out: folder of the results.
        work_dir: folder of checkpoints.
        environment: environment of the processes.
    """

    minutes: float
    deadline: Deadline
    device: str
    data: Path | None
    out: Path
    work_dir: Path
    environment: dict[str, str]

    def seconds_for(self, part: Part) -> float:
        """Return the seconds that a part may take from now on, including the time that earlier parts left."""
        return self.deadline.left() - (1 - part.until) * 60 * self.minutes


class Record:
    """The state of a run, always complete on disk.

    Args:
        path: the file.
        **facts: initial entries.
    """

    def __init__(self, path: Path, **facts: Any) -> None:
        self.path = path
        self.parts: list[dict[str, Any]] = []
        self.data: dict[str, Any] = {'complete': False, **facts, 'parts': self.parts}
        self.write()

    @contextmanager
    def part(self, name: str, command: list[str]) -> Iterator[dict[str, Any]]:
        """Record a part as running, and then with the ``state`` that the block sets."""
        start = time.perf_counter()
        entry: dict[str, Any] = {'name': name, 'state': 'running', 'command': command}
        self.parts.append(entry)
        self.write()
        try:
            yield entry
        except BaseException as error:
            entry['state'] = f'interrupted by {type(error).__name__}'
            raise
        finally:
            entry['seconds'] = round(time.perf_counter() - start, 1)
            self.write()

    def finish(self) -> bool:
        """Record that all parts are done, and return whether all ended well."""
        self.data['complete'] = all(part['state'] == 'done' for part in self.parts)
        self.write()
        return self.data['complete']

    def write(self) -> None:
        """Write everything."""
        write_json(self.path, self.data)


def run(part: Part, setting: Setting, record: Record) -> None:
    """Run a part until it ends or its time is over."""
    seconds = setting.seconds_for(part)
    command = arguments(part, setting, seconds - 2 * GRACE)
    print(f'{part.name}: at most {max(seconds, 0):.0f} s', flush=True)
    with record.part(part.name, command) as entry:
        if part.needs_data and setting.data is None:
            entry['state'] = 'left out: there are no images, see --data'
        elif seconds <= 2 * GRACE:
            entry['state'] = 'left out: no time was left'
        else:
            entry['state'] = state_of(command, seconds - GRACE, setting)
    print(f'{part.name}: {entry["state"]} ({entry["seconds"]:.0f} s)', flush=True)


def arguments(part: Part, setting: Setting, seconds: float) -> list[str]:
    """Return the command with its fields filled in; the part should end by itself within ``seconds``."""
    values = {
        'device': setting.device,
        'minutes': f'{max(seconds, 0) / 60:.3f}',
        'out': setting.out,
        'data': setting.data,
        'work_dir': setting.work_dir,
    }
    tiny = part.tiny if setting.device == 'cpu' else ()
    return [text.format(**values) for text in (*part.command, *tiny)]


def state_of(command: list[str], seconds: float, setting: Setting) -> str:
    """Run a command with its output in the log, and return how it ended."""
    with (setting.out / 'gpu.log').open('a') as log:
        print(f'\n$ python {" ".join(command)}', file=log, flush=True)
        child = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env=setting.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = child.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return 'stopped: its time was over'
        finally:
            stop(child)
    return 'done' if status == 0 else f'failed: exit status {status}'


def stop(child: subprocess.Popen) -> None:
    """End a process and all its children, with a request first."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
            child.wait(timeout=GRACE)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
