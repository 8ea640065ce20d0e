"""Train and test one method of the table, in a process that ends with its parent.

cifar10_row.py starts ``python -m cifar10.worker WORK_DIR METHOD END``; END is in seconds since 1970.
"""

import json
import os
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any

from records import Deadline, write_json

from cifar10.evaluation import evaluate
from cifar10.images import read_split
from cifar10.plan import seconds_per_pass
from cifar10.processes import read
from cifar10.settings import METHODS, Files, Settings
from cifar10.training import Training
from samat_mm.command_line.endings import errors_as_sentences

TIMED = 5.0  # seconds of the measurement, or a sixtieth of the time if this is less


class Worker:
    """The training and the test of a method, and their results.

    Args:
        work: folder of the run, with ``settings.json``.
        method: name of the method.
        deadline: nothing starts that is expected to end after it.
    """

    def __init__(self, work: Path, method: str, deadline: Deadline) -> None:
        self.settings = Settings(**json.loads((work / 'settings.json').read_text(encoding='utf-8')))
        self.method, self.files, self.deadline = METHODS[method], Files(work, method), deadline
        self.plan = work / 'plan.json'
        self.split = read_split(self.settings.data, 'train', self.settings.images).to(self.settings.device)
        self.part = {**read(self.files.part), 'state': 'waiting', 'train_images': len(self.split)}

    def run(self) -> None:
        """Measure a step if the number of epochs is not known yet, train, and test."""
        if not self.plan.exists():
            self._measure()
        epochs: int = json.loads(_wait_for(self.plan).read_text(encoding='utf-8'))['epochs']
        training = self._new_training()
        training.load(self.files.checkpoint)
        self._report_training(training, 'training')
        while training.epochs < epochs:
            if not self.deadline.allows(self._expected_seconds(training)):
                self._report(state='training cut off')
                return
            training.run_epoch(epochs)
            training.save(self.files.checkpoint)
            self._report_training(training, 'training')
        self._report(state='testing')
        pace = seconds_per_pass(statistics.median(training.progress.seconds), len(self.split), self.files.method)
        del training
        done = evaluate(self.settings, self.files, self.deadline, pace, self._report_tests)
        self._report(state='done' if done else 'test cut off')

    def _new_training(self) -> Training:
        return Training(self.settings, self.method.wrapper, self.split)

    def _expected_seconds(self, training: Training) -> float:
        """Return the expected time of the next epoch."""
        measured = training.steps_per_epoch * self.part.get('seconds_per_step', 0.0)
        return statistics.median(training.progress.seconds or [measured])

    def _measure(self) -> None:
        """Time a step at the same time as the other methods."""

        def all_are_ready() -> None:
            (self.files.folder / 'ready').touch()
            _wait_for(self.plan.with_name('go'))

        seconds = self._new_training().seconds_per_step(all_are_ready, min(TIMED, self.deadline.left() / 60))
        self._report(state='measured', seconds_per_step=seconds)

    def _report_training(self, training: Training, state: str) -> None:
        done = training.progress
        if training.epochs:
            seconds = statistics.median(done.seconds)
            self.part |= {
                'train_loss': done.losses[-1],
                'seconds_per_epoch': seconds,
                'images_per_second': len(self.split) / seconds,
            }
        self._report(state=state, epochs_done=training.epochs, losses=done.losses, seconds_of_epochs=done.seconds)

    def _report_tests(self, results: dict[str, Any]) -> None:
        self._report(results={**self.part.get('results', {}), **results})

    def _report(self, **facts: Any) -> None:
        self.part |= facts
        write_json(self.files.part, self.part)


def _wait_for(file: Path) -> Path:
    while not file.exists():
        time.sleep(0.02)
    return file


def _end_with_the_starter() -> None:
    """End this process when its standard input is closed, which happens however the parent ends."""

    def wait() -> None:
        os.read(sys.stdin.fileno(), 1)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """Run the method that the arguments name."""
    work, method, end = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    _end_with_the_starter()
    with errors_as_sentences():
        worker = Worker(work, method, Deadline((end - time.time()) / 60))
        worker.run()


if __name__ == '__main__':
    main()
