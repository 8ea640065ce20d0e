"""The folder in which all processes of a test keep the scores of their images."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from mmengine.dist import get_rank
from mmengine.runner import Runner

from samat_mm.engine.agreement import decided_by_main
from samat_mm.errors import InputError
from samat_mm.evaluation.fingerprint import fingerprint
from samat_mm.evaluation.folders import open_folder
from samat_mm.model_state import unwrapped

FOLDER = 'attack_results'


@contextmanager
def evaluation_folder(
    runner: Runner, settings: Mapping[str, Any], attacks: Mapping[str, Mapping[str, Any]], must_resume: bool
) -> Iterator[tuple[Path, bool]]:
    """Enter the folder of an evaluation, the same in every process; see :func:`open_folder`.

    Args:
        runner: the runner of the test.
        settings: the settings of the evaluation.
        attacks: the parameters of each attack, by name.
        must_resume: if True, a missing earlier evaluation is an error.

    Yields:
        The folder, and whether its evaluation was begun before.

    Raises:
        ValueError: if the evaluation cannot be resumed, or a process does not see the folder.
    """
    parent, model = Path(runner.work_dir) / FOLDER, unwrapped(runner.model)
    with ExitStack() as stack:
        folder, resumed = decided_by_main(
            lambda: stack.enter_context(
                open_folder(parent, fingerprint(runner.cfg, model, settings, attacks), runner.timestamp, must_resume)
            )
        )
        if not folder.is_dir():
            raise InputError(f'process {get_rank()} does not see {folder}; all need the same --work-dir.')
        if resumed:
            runner.logger.info(f'The evaluation in {folder} continues.')
        yield folder, resumed
