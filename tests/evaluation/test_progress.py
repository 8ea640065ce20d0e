"""How far an evaluation is."""

import logging

import pytest
from rich.progress import Progress

from samat_mm.evaluation import progress
from samat_mm.evaluation.progress import progress_by_attack


@pytest.fixture
def shown(monkeypatch):
    """The bars that are made."""
    made = []

    class Recorded(Progress):
        def __init__(self, *columns, **more):
            super().__init__(*columns, **more)
            made.append(self)

    monkeypatch.setattr(progress, 'Progress', Recorded)
    return made


def test_a_line_per_attack_with_what_is_left(shown):
    with progress_by_attack({'clean': 4, 'pgd-linf': 8, 'done before': 0}, logging.getLogger('test')) as advance:
        advance('clean', 2)
        advance('clean', 2)
        advance('pgd-linf', 3)
        (bars,) = shown
        assert {task.description: (task.completed, task.total) for task in bars.tasks} == {
            'clean': (4, 4),
            'pgd-linf': (3, 8),
        }
        assert [type(column).__name__ for column in bars.columns][-2:] == ['TimeElapsedColumn', 'TimeRemainingColumn']
    assert bars.finished or not bars.live.is_started


def test_the_time_that_is_left_is_known_from_the_second_batch_on(shown, monkeypatch):
    """Each attack's own, from when it was first at work."""
    with progress_by_attack({'pgd-linf': 10}, logging.getLogger('test')) as advance:
        (task,) = shown[0].tasks
        clock = iter(range(100, 1000, 10))
        monkeypatch.setattr(shown[0], 'get_time', lambda: next(clock))
        for _ in range(3):
            advance('pgd-linf', 2)
        assert task.time_remaining is not None


def test_once_a_minute_it_is_logged(monkeypatch, caplog):
    logger = logging.getLogger('test')
    with caplog.at_level(logging.INFO, 'test'), progress_by_attack({'clean': 4, 'pgd': 4}, logger) as advance:
        advance('clean', 1)
        assert caplog.messages == []
        monkeypatch.setattr(progress, 'MINUTE', -1.0)
        advance('pgd', 3)
    assert caplog.messages == ['done: clean 1/4, pgd 3/4']


def test_other_processes_show_nothing(shown, monkeypatch):
    monkeypatch.setattr(progress, 'is_main_process', lambda: False)
    with progress_by_attack({'clean': 4}, logging.getLogger('test')) as advance:
        advance('clean', 4)
    assert shown[0].disable
