"""samat_mm.command_line.side_by_side: order, progress, failure and interruption, with shell commands in our place."""

import io
import signal
import threading
import time

import pytest
from rich.console import Console

from samat_mm.command_line import side_by_side
from samat_mm.command_line.side_by_side import Step, run_side_by_side


@pytest.fixture(autouse=True)
def shell(monkeypatch, tmp_path):
    """Run `python -m samat_mm COMMAND` as `COMMAND`, and look often."""
    program = tmp_path / 'program'
    program.write_text('#!/bin/sh\nshift 2\nexec "$@"\n')
    program.chmod(0o755)
    monkeypatch.setattr(side_by_side.sys, 'executable', str(program))
    monkeypatch.setattr(side_by_side, 'SECONDS', 0.01)


def step(command, log):
    return Step(f'step {log.stem}', ['sh', '-c', command], log)


def test_steps_of_a_chain_follow_each_other_and_chains_do_not_wait(tmp_path):
    """The first chain waits for a file that the second makes, and its second step for its first."""
    made, seen = tmp_path / 'made', tmp_path / 'seen'
    first = step(
        f'while [ ! -e {made} ]; do sleep 0.01; done; echo $OMP_NUM_THREADS > {seen}', tmp_path / 'logs' / 'a.log'
    )
    second = step(f'cat {seen}; echo trouble >&2', tmp_path / 'logs' / 'b.log')
    third = step(f'touch {made}', tmp_path / 'logs' / 'c.log')
    run_side_by_side([[first, second], [third]], Console(file=io.StringIO()))
    assert second.log.read_text() == '1\ntrouble\n'


def test_the_last_count_of_a_log(tmp_path):
    one = step('true', tmp_path / 'a.log')
    one.log.write_text('')
    assert one.count() == (0, 0)
    one.log.write_text(f'70 of 700 iterations, loss 1\n{"." * 5000}140 of 700 iterations, 00:01:00 left\n')
    assert one.count() == (140, 700)
    one.log.write_text('3 of 28 steps (11%) done\nSelect jobs to execute...\n')
    assert one.count() == (3, 28)


def test_a_failure_ends_the_others_and_shows_its_log(tmp_path):
    written, after = io.StringIO(), tmp_path / 'after'
    sleeping, failing = (
        step('exec sleep 60', tmp_path / 'a.log'),
        step('echo no such config; exit 3', tmp_path / 'b.log'),
    )
    start = time.monotonic()
    with pytest.raises(SystemExit) as ended:
        run_side_by_side([[sleeping, step(f'touch {after}', tmp_path / 'c.log')], [failing]], Console(file=written))
    assert ended.value.code == 3 and time.monotonic() - start < 30 and not after.exists()
    assert f'step b failed with status 3; the end of {failing.log}:\nno such config' in written.getvalue()


@pytest.mark.parametrize('sent', [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_reaches_what_runs_and_what_that_has_started(sent, tmp_path):
    told = tmp_path / 'told'
    inner = f'trap "touch {told}; exit" INT; echo ready; while true; do sleep 0.01; done'
    waiting = step(f"sh -c '{inner}'; true", tmp_path / 'a.log')

    def interrupt():
        while not (waiting.log.exists() and waiting.log.read_text()):
            time.sleep(0.01)
        signal.raise_signal(sent)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run_side_by_side([[waiting]], Console(file=io.StringIO()))
    thread.join()
    assert told.exists()
