"""Decisions of the main process that all processes share."""

from collections.abc import Callable
from typing import Any, TypeVar

from mmengine.dist import broadcast_object_list, is_main_process

Decision = TypeVar('Decision')


def decided_by_main(decide: Callable[[], Decision]) -> Decision:
    """Return the decision of the main process in every process; an error of the main process is raised in all of them.

    Without this, the other processes would wait forever.
    """
    answer: list[Any] = [None]
    if is_main_process():
        try:
            answer[0] = decide()
        except Exception as error:  # raised below
            answer[0] = error
    broadcast_object_list(answer)
    if isinstance(answer[0], Exception):
        raise answer[0]
    return answer[0]
