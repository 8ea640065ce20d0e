"""Run the methods of the table side by side, each in its own process, and collect their results in one file."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from records import Deadline, machine, write_json

from cifar10.plan import plan_for
from cifar10.report import document
from cifar10.settings import Files, Settings
from samat_mm.command_line.endings import BUG
from samat_mm.errors import FileError, StepError

BENCHMARKS = Path(__file__).parents[1]
LAST_SECONDS = 3.0  # reserved for ending the processes and writing the file
POLL = 0.1


def read(file: Path) -> dict[str, Any]:
    """Return the content of a JSON file, or an empty dict if the file does not exist.

    Raises:
        OSError: if it is damaged.
    """
    try:
        return json.loads(file.read_text(encoding='utf-8')) if file.exists() else {}
    except ValueError as error:
        raise FileError(f'{file} is damaged; remove it, and the checkpoints next to it if numbers matter.') from error


class Run:
    """All methods side by side.

    Args:
        settings: settings of the run, which are in the folder as ``settings.json``.
        methods: names of the methods.
        work: folder of the run.
        out: file with the results of all methods.
        deadline: all processes end before it.
    """

    def __init__(self, settings: Settings, methods: Sequence[str], work: Path, out: Path, deadline: Deadline) -> None:
        self.settings, self.out, self.deadline = settings, out, deadline
        self.go_file, self.plan_file = work / 'go', work / 'plan.json'
        self.files = {name: Files(work, name) for name in methods}
        self.plan, self.written = read(self.plan_file), dict[str, Any]()
        self._failures: dict[str, str] = {}
        self._machine: dict[str, Any] = {}

    def run(self) -> dict[str, Any]:
        """Run until everything is done or the time is over, and return the final document.

        Raises:
            RuntimeError: if a process failed.
        """
        running = {name: self._start(files) for name, files in self.files.items()}
        try:
            self._machine = machine(self.settings.device)
            while self._is_to_wait() and any(process.poll() is None for process in running.values()):
                self._failures = {name: self._last_line(name) for name, process in running.items() if process.poll()}
                self._coordinate()
                self._write()
                time.sleep(POLL)
            self._failures = {name: self._last_line(name) for name, process in running.items() if process.poll()}
        finally:
            for process in running.values():
                process.kill()
                process.wait()
            self._write()
        for name, line in self._failures.items():
            raise StepError(f'the process of {name} failed ({line}); see {self.files[name].log}.')
        return self.written

    def _is_to_wait(self) -> bool:
        """Tell whether to wait: there is time, and work. Before there is a plan, all methods wait for each other."""
        nothing_to_do = (not self.plan and self._failures) or self.plan.get('epochs') == 0
        return not nothing_to_do and self.deadline.allows(LAST_SECONDS / 2)

    def _start(self, files: Files) -> subprocess.Popen:
        """Start the process of a method, which ends with this one, because its standard input is then closed."""
        files.folder.mkdir(exist_ok=True)
        environment = {'OMP_NUM_THREADS': str(max(1, (os.cpu_count() or 1) // len(self.files))), **os.environ}
        if self.settings.device == 'cpu':
            environment['CUDA_VISIBLE_DEVICES'] = ''  # MMEngine would use any device that it finds
        end = time.time() + self.deadline.left() - LAST_SECONDS
        command = [sys.executable, '-m', 'cifar10.worker', str(files.work), files.method, str(end)]
        environment['PYTHONPATH'] = os.pathsep.join([str(BENCHMARKS), *filter(None, sys.path)])
        with files.log.open('ab') as log:
            return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment)

    def _last_line(self, name: str) -> str:
        """Return the last line of a process's output."""
        lines = self.files[name].log.read_text(encoding='utf-8', errors='replace').splitlines()
        return next((line for line in reversed(lines) if line and line != BUG), 'without a word')

    def _coordinate(self) -> None:
        """Let the methods time a step once all are ready, and choose the number of epochs once all are done."""
        if self.plan:
            return
        if not self.go_file.exists():
            if all((files.folder / 'ready').exists() for files in self.files.values()):
                self.go_file.touch()
            return
        parts = self._parts()
        if all('seconds_per_step' in part for part in parts.values()):
            self.plan = plan_for(self.deadline.left() - LAST_SECONDS, parts, self.settings)
            print(
                f'{self.plan["epochs"]} epochs for each method fit into {self.deadline.left():.0f} seconds', flush=True
            )
            if self.plan['epochs']:  # otherwise the next run may have more time
                write_json(self.plan_file, self.plan)

    def _parts(self) -> dict[str, dict[str, Any]]:
        """Return the numbers of the methods so far."""
        return {name: read(files.part) for name, files in self.files.items()}

    def _write(self) -> None:
        """Write the file if anything has changed."""
        new = document(self.settings, self.plan, self._machine, self._parts(), self._failures)
        if new != self.written:
            self.written = new
            write_json(self.out, new)
