"""Run chains of commands at the same time, each into a log, and show how far they are."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from samat_mm.files.access import writing

SECONDS = 0.5  # between two looks at what runs
COUNT = re.compile(r'(\d+) of (\d+) ')  # iterations of a training, steps of Snakemake
TAIL = 4096  # bytes of a log in which the last count is looked for
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # what ends this process ends those that it runs
LINES = 15  # of the log of a command that failed


@dataclass(frozen=True)
class Step:
    """A command of samat-mm.

    Args:
        title: What it does, for the terminal.
        arguments: The command and its arguments.
        log: File that receives what it prints.
    """

    title: str
    arguments: Sequence[str]
    log: Path

    def start(self) -> subprocess.Popen:
        """Start it with one thread, because processes that share the cores are faster so."""
        with writing(self.log):
            self.log.parent.mkdir(parents=True, exist_ok=True)
            output = self.log.open('w', encoding='utf-8')
        with output:
            return subprocess.Popen(
                [sys.executable, '-m', 'samat_mm', *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,  # so that an interrupt also reaches the processes that it has started
                env={**os.environ, 'OMP_NUM_THREADS': '1'},
            )

    def count(self) -> tuple[int, int]:
        """Return how much is done, and of how much, as the log said last; of 0 if it says nothing yet."""
        with self.log.open('rb') as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - TAIL))
            found = COUNT.findall(log.read().decode(errors='replace'))
        return (int(found[-1][0]), int(found[-1][1])) if found else (0, 0)


def run_side_by_side(chains: Sequence[Sequence[Step]], console: Console) -> None:
    """Run the steps of each chain one after the other, and the chains at the same time.

    If a step fails, the process exits with its status, after the end of its log. If this process is interrupted or
    terminated, what still runs is interrupted.

    Raises:
        OSError: if a log cannot be written.
    """
    columns = TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console) as progress:
        following = [_follow(chain, progress) for chain in chains]
        before = {number: signal.signal(number, signal.default_int_handler) for number in ENDINGS}
        try:
            while following:
                following = [steps for steps in following if next(steps, None)]
                time.sleep(SECONDS)
        finally:
            for steps in following:
                steps.close()
            for number, handler in before.items():
                signal.signal(number, handler)


def _follow(chain: Sequence[Step], progress: Progress) -> Generator[Step, None, None]:
    """Run the steps, and yield the one that runs at each look."""
    for step in chain:
        progress.console.print(f'samat-mm {shlex.join(step.arguments)}', style='dim', soft_wrap=True, markup=False)
        bar, process = progress.add_task(step.title, total=None), step.start()
        try:
            while process.poll() is None:
                done, total = step.count()
                progress.update(bar, completed=done, total=total or None)
                yield step
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
                process.wait()
        if process.returncode:
            lines = step.log.read_text(encoding='utf-8', errors='replace').splitlines()[-LINES:]
            said = [f'{step.title} failed with status {process.returncode}; the end of {step.log}:', *lines]
            progress.console.print('\n'.join(said), soft_wrap=True, markup=False)
            sys.exit(process.returncode)
        total = max(1, step.count()[1])
        progress.update(bar, completed=total, total=total)
        progress.stop_task(bar)
