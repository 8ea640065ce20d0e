"""The methods of the table side by side, a process for each, and the one file about them."""

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cifar10_report import document
from cifar10_settings import METHODS, Files, Settings, passes_in_all
from records import Deadline, machine, write_json

from samat_mm.command_line.endings import BUG
from samat_mm.errors import FileError, StepError

WORKER = Path(__file__).with_name('cifar10_worker.py')
LAST_SECONDS = 3.0  # kept for ending the processes and writing the file
POLL = 0.1
MOST_EPOCHS = 100  # the paper's
TEST_SHARE = 0.4  # of the time, at most; AutoAttack would take more epochs' worth than there are in a few minutes
RESERVE = 1.1  # an epoch also writes a checkpoint, and a measurement is no promise


def read(file: Path) -> dict[str, Any]:
    """Return what a JSON file holds, nothing if there is none.

    Raises:
        OSError: if it is damaged.
    """
    try:
        return json.loads(file.read_text(encoding='utf-8')) if file.exists() else {}
    except ValueError as error:
        raise FileError(f'{file} is damaged; remove it, and the checkpoints beside it if numbers matter.') from error


def planned_epochs(left: float, epochs: Mapping[str, float], tests: Mapping[str, float]) -> int:
    """Return how many epochs fit, the same number for all methods.

    Args:
        left: seconds for training and tests, infinite without a limit.
        epochs: seconds of an epoch, by method, while the others run.
        tests: seconds of the test, by method, at most.
    """
    training = left - min(TEST_SHARE * left, max(tests.values())) if math.isfinite(left) else left
    fitting = training / (RESERVE * max(epochs.values()))
    return MOST_EPOCHS if fitting >= MOST_EPOCHS else max(0, int(fitting))


class Run:
    """All methods side by side.

    Args:
        settings: of the run, which are in the folder as ``settings.json``.
        methods: by name.
        work: the folder.
        out: the file about all of it.
        deadline: nothing runs any more when it comes.
    """

    def __init__(self, settings: Settings, methods: Sequence[str], work: Path, out: Path, deadline: Deadline) -> None:
        self.settings, self.out, self.deadline = settings, out, deadline
        self.go_file, self.plan_file = work / 'go', work / 'plan.json'
        self.files = {name: Files(work, name) for name in methods}
        self.plan, self.written = read(self.plan_file), dict[str, Any]()

    def go(self) -> dict[str, Any]:
        """Work until all is done or the time is over, and return what was written at the end.

        Raises:
            RuntimeError: if a process failed.
        """
        self.machine = machine(self.settings.device)
        running = {name: self._start(files) for name, files in self.files.items()}
        try:
            while self._is_to_wait() and any(one.poll() is None for one in running.values()):
                self._answer()
                self._write()
                self._refuse_failures(running)
                time.sleep(POLL)
            self._refuse_failures(running)
        finally:
            for process in running.values():
                process.kill()
                process.wait()
            self._write()
        return self.written

    def _is_to_wait(self) -> bool:
        return self.deadline.allows(LAST_SECONDS / 2) and self.plan.get('epochs') != 0

    def _start(self, files: Files) -> subprocess.Popen:
        """Start the process of a method; it ends when this one does, as its standard input is closed then."""
        files.folder.mkdir(exist_ok=True)
        environment = {'OMP_NUM_THREADS': str(max(1, (os.cpu_count() or 1) // len(self.files))), **os.environ}
        if self.settings.device == 'cpu':
            environment['CUDA_VISIBLE_DEVICES'] = ''  # MMEngine would take what it finds
        end = time.time() + self.deadline.left() - LAST_SECONDS
        command = [sys.executable, str(WORKER), str(files.work), files.method, str(end)]
        with files.log.open('ab') as log:
            return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment)

    def _refuse_failures(self, running: Mapping[str, subprocess.Popen]) -> None:
        for name, process in running.items():
            if process.poll():
                log = self.files[name].log
                lines = log.read_text(encoding='utf-8', errors='replace').splitlines()
                said = next((line for line in reversed(lines) if line and line != BUG), 'without a word')
                raise StepError(f'the process of {name} failed ({said}); see {log}.')

    def _answer(self) -> None:
        """Let the methods time a step once all are ready, and choose the number of epochs once all have done it."""
        if self.plan:
            return
        if not self.go_file.exists():
            if all((files.folder / 'ready').exists() for files in self.files.values()):
                self.go_file.touch()
            return
        parts = self._parts()
        if not all('seconds_per_step' in part for part in parts.values()):
            return
        epochs, tests = {}, {}
        for name, part in parts.items():
            epochs[name] = part['seconds_per_step'] * math.ceil(part['train_images'] / self.settings.batch)
            per_pass = epochs[name] / part['train_images'] / (3 * METHODS[name].gradients)
            tests[name] = per_pass * passes_in_all(self.settings.attacks)
        left = self.deadline.left() - LAST_SECONDS
        self.plan = {
            'epochs': planned_epochs(left, epochs, tests),
            'chosen': 'to fit the time',
            'seconds_left': left,
            'measured_seconds_per_epoch': epochs,
            'expected_seconds_of_tests': tests,
        }
        print(f'{self.plan["epochs"]} epochs for each method, in {left:.0f} seconds with the tests', flush=True)
        if self.plan['epochs']:  # or there may be more time at the next try
            write_json(self.plan_file, self.plan)

    def _parts(self) -> dict[str, dict[str, Any]]:
        """Return the numbers of the methods so far."""
        return {name: read(files.part) for name, files in self.files.items()}

    def _write(self) -> None:
        """Write the file if there is news."""
        new = document(self.settings, self.plan, self.machine, self._parts())
        if new != self.written:
            self.written = new
            write_json(self.out, new)
