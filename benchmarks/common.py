"""Shared parts of the benchmarks: command line, a record that is always complete on disk, timed jobs, tables."""

import argparse
import os
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from costs.timing import OutOfTime, release
from costs.workloads import SIZES
from records import Deadline, machine, write_json
from rich.console import Console
from rich.table import Table

MARGIN = 1.0  # seconds before the end at which a script stops itself
LONGEST_IMPORT = 120.0  # seconds; in a sandbox, the process start time may be 0


def parse(
    description: str | None,
    rounds: int,
    extend: Callable[[argparse.ArgumentParser], None] | None = None,
) -> argparse.Namespace:
    """Read the command line; ``extend`` adds options of one benchmark."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--models', nargs='+', choices=list(SIZES['cpu']), help='default: the large ones')
    parser.add_argument('--device', default='cpu', help="'cpu' or 'cuda'")
    parser.add_argument('--rounds', type=int, default=rounds, help='number of rounds, after one for warm-up')
    parser.add_argument('--minutes', type=float, help='end by then, and start nothing that would end later')
    parser.add_argument('--threads', type=int, default=1, help='torch threads on the CPU')
    parser.add_argument('--out', type=Path, metavar='FILE.json', help='write the numbers, after each table')
    if extend is not None:
        extend(parser)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    if args.device.startswith('cuda'):
        torch.cuda.set_device(torch.device(args.device).index or 0)
        torch.backends.cudnn.benchmark = True  # as in the configs
    return args


def deadline_of(args: argparse.Namespace) -> Deadline:
    """Return the end of ``--minutes``, counted from the start of the process, because imports take time."""
    return Deadline(None if args.minutes is None else args.minutes - _age() / 60)


def _age() -> float:
    """Return the age of this process in seconds, or 0 if the system does not report a plausible one."""
    try:
        begun = int(Path('/proc/self/stat').read_text().rpartition(')')[2].split()[19]) / os.sysconf('SC_CLK_TCK')
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - begun
    except (OSError, AttributeError, IndexError):  # not Linux
        return 0.0
    return age if 0 <= age < LONGEST_IMPORT else 0.0


def no_goals(results: dict) -> list[dict]:
    """Return no goals."""
    return []


class Record:
    """The numbers so far, written to ``--out`` as a complete file after each change.

    Args:
        args: the settings.
        goals: function that returns rows of goals for the results.
    """

    def __init__(self, args: argparse.Namespace, goals: Callable[[dict], list[dict]] = no_goals) -> None:
        self.out, self.device, self._goals, self._lock = args.out, args.device, goals, threading.RLock()
        settings = {key: value for key, value in vars(args).items() if key != 'out'}
        self.results: dict[str, Any] = {}
        self.left_out: list[str] = []
        self.failures: list[str] = []
        self._data = {'settings': settings, 'machine': machine(args.device), 'load_average': os.getloadavg()}
        self.write()

    def add(self, model: str, **numbers: Any) -> None:
        """Add results about a model."""
        with self._lock:
            self.results.setdefault(model, {}).update(numbers)
            self.write()

    def leave_out(self, sentence: str) -> None:
        """Report a part that is missing from the record, and why."""
        with self._lock:
            print(sentence, flush=True)
            self.left_out.append(sentence)
            self.write()

    def fail(self, sentence: str) -> None:
        """Report a failure."""
        with self._lock:
            self.failures.append(sentence)
            self.write()

    @property
    def goals(self) -> list[dict[str, Any]]:
        """The goals that the results so far can decide."""
        return self._goals(self.results)

    def write(self, complete: bool = False) -> None:
        """Write everything, and whether the measurement is complete."""
        with self._lock:
            ended = {'goals': self.goals, 'left_out': self.left_out, 'failures': self.failures, 'complete': complete}
            if self.out:
                write_json(self.out, {**self._data, **ended, 'results': self.results})


@dataclass
class Job:
    """A part of a benchmark that adds to the record, and the least number of seconds that it is expected to take."""

    title: str
    run: Callable[[], None]
    seconds: float = 0


def run_all(jobs: Sequence[Job], record: Record, deadline: Deadline) -> int:
    """Run the jobs that fit into the time, in order, and return the exit status of the script.

    A job that fails is recorded with its trace, and the others continue, because a borrowed machine may not be
    available again. If a job is still running shortly before the end (compiling, say), the whole process stops; the
    record says so and has all earlier results.
    """
    running = ['the beginning']

    def give_up() -> None:
        record.leave_out(f'{running[0]}: given up at the end of the time.')
        os._exit(0)

    guard = threading.Timer(max(deadline.left() - MARGIN, 0), give_up) if deadline.left() < float('inf') else None
    if guard:
        guard.daemon = True
        guard.start()
    for job in jobs:
        running[0] = job.title
        if not deadline.allows(job.seconds + MARGIN):
            record.leave_out(f'{job.title}: not begun, {max(deadline.left(), 0):.1f} seconds before the end.')
            continue
        try:
            job.run()
        except OutOfTime as error:
            record.leave_out(str(error))
        except torch.OutOfMemoryError as error:
            record.leave_out(f'{job.title}: out of memory ({str(error).splitlines()[0]})')
        except Exception as error:  # recorded; the exit status reports it
            traceback.print_exc()
            record.fail(f'{job.title}: {"".join(traceback.format_exception(error))}')
        release(record.device)
    if guard:
        guard.cancel()
    if record.goals:
        show('Goals', [{key: str(value) for key, value in goal.items()} for goal in record.goals])
    record.write(complete=not record.left_out and not record.failures)
    return 1 if record.failures else 0


def circumstances(device: str, threads: int) -> None:
    """Print the conditions of the measurement."""
    facts, load = machine(device), os.getloadavg()[0]
    has = f' with {", ".join(facts["instructions"]) or "none of the instructions"}' if 'instructions' in facts else ''
    print(f'{facts["name"]}{has}; {threads} thread(s), load average {load:.1f}', flush=True)


def show(title: str, rows: list[dict[str, str]]) -> None:
    """Print one table; the keys of the rows are the columns."""
    table = Table(title=title, title_justify='left')
    for column in rows[0]:
        table.add_column(column, justify='left' if column == next(iter(rows[0])) else 'right')
    for row in rows:
        table.add_row(*row.values())
    Console(width=None if Console().is_terminal else 140).print(table)
