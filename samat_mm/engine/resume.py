"""Resume a training: from the newest intact checkpoint, or from one that is named."""

import glob
import logging
import re
import sys
from pathlib import Path
from typing import NamedTuple

from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from samat_mm.compat.checkpoints import load_checkpoint_file, peek_checkpoint_file
from samat_mm.engine.agreement import decided_by_main
from samat_mm.errors import InputError, UserError

NEWEST = 'auto'  # as in MMEngine's own tools
_PARTS = ('meta', 'state_dict', 'message_hub', 'optimizer')


class Progress(NamedTuple):
    """The progress of a training when it wrote a checkpoint; newer checkpoints compare greater."""

    time: str  # in MMEngine's format, which sorts; a folder may hold leftovers of an earlier, longer training
    iteration: int
    epoch: int


class OfAnotherKind(InputError):
    """An intact checkpoint that lacks parts which resuming needs."""


def resume(runner: Runner, wanted: str) -> None:
    """Make a training that has not started resume from a checkpoint. Every process must call it.

    Args:
        runner: the runner that trains.
        wanted: path of a checkpoint, or 'auto' for the newest one of the folder; a warning says where there is none
            and the training starts from the beginning.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the checkpoint is damaged or cannot be resumed, or if this holds for all in the folder.
    """
    check(wanted)
    if wanted == NEWEST and '://' in _store(runner):
        runner._resume, runner._load_from = True, None  # MMEngine's backends know the way, last_checkpoint the name
        return
    found = decided_by_main(lambda: _newest_of(runner) if wanted == NEWEST else _named(wanted))
    if found is not None:
        runner._resume, runner._load_from = True, found


def check(wanted: str) -> None:
    """Refuse an empty path.

    Raises:
        ValueError: if it is empty.
    """
    if not wanted.strip():
        raise InputError(f'--resume expects the path of a checkpoint, or nothing for the newest one; got {wanted!r}.')


def newest_checkpoint(folder: Path, names: str = '*.pth') -> tuple[Path | None, dict[Path, str]]:
    """Return the newest checkpoint of a folder that can be resumed, and why others were skipped.

    The contents of the files decide the order. Their names and dates do not count, nor does ``last_checkpoint``, which
    a kill may leave empty and which names another folder after a copy.

    Args:
        folder: folder of the checkpoints.
        names: pattern of their names.
    """
    progress, skipped, others = {}, {}, {}
    for path in sorted({*folder.glob('*.pth'), *folder.glob(names)}):
        try:
            progress[path] = progress_of(path)
        except OfAnotherKind as error:  # the best one so far, for instance
            others[path] = str(error)
        except UserError as error:
            skipped[path] = str(error)
    for path in sorted(progress, key=lambda path: progress[path], reverse=True):
        try:
            load_checkpoint_file(path)
        except UserError as error:
            skipped[path] = str(error)
        else:
            return path, skipped
    return None, {**skipped, **others}


def progress_of(path: Path) -> Progress:
    """Return the progress that a checkpoint states; its tensors are not read.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a checkpoint that can be resumed.
    """
    checkpoint = peek_checkpoint_file(path)
    lacking = [
        part for part in _PARTS if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get(part), dict)
    ]
    if lacking:
        raise OfAnotherKind(
            f'checkpoint {path} cannot be resumed: it holds no {", ".join(lacking)}. Start a new training from its '
            f'weights with --cfg-options load_from={path}.'
        )
    meta = checkpoint['meta']
    iteration, epoch = meta.get('iter'), meta.get('epoch')
    if type(iteration) is not int or type(epoch) is not int:
        raise InputError(f'checkpoint {path} cannot be resumed: it does not say of which iteration and epoch it is.')
    return Progress(str(meta.get('time', '')), iteration, epoch)


def _checkpoint_hook(runner: Runner) -> CheckpointHook | None:
    return next((hook for hook in runner.hooks if isinstance(hook, CheckpointHook)), None)


def _store(runner: Runner) -> str:
    """Return where the training keeps its checkpoints."""
    hook, work_dir = _checkpoint_hook(runner), Path(runner.work_dir)
    return str(work_dir) if hook is None or hook.out_dir is None else f'{hook.out_dir}/{work_dir.name}'


def _named(wanted: str) -> str:
    local = '://' not in wanted and not Path(wanted).is_dir()  # DeepSpeed's are folders, which MMEngine judges
    if local:
        progress_of(Path(wanted).expanduser())
    return wanted


def _newest_of(runner: Runner) -> str | None:
    folder, hook = Path(_store(runner)), _checkpoint_hook(runner)
    parts = re.split(r'\{[^}]*\}', hook.filename_tmpl) if hook is not None else []
    newest, skipped = newest_checkpoint(folder, '*'.join(glob.escape(part) for part in parts) or '*.pth')
    for reason in skipped.values():
        _say(runner, f'skipped: {reason}')
    if newest is not None:
        found = progress_of(newest)
        runner.logger.info(f'resuming from {newest}, of iteration {found.iteration} and epoch {found.epoch}.')
        return str(newest)
    pointer = Path(runner.work_dir) / 'last_checkpoint'
    if skipped:
        raise InputError(
            f'none of the checkpoints in {folder} can be resumed; {" ".join(skipped.values())} '
            'Remove them to begin anew, or name another one with --resume PATH.'
        )
    if pointer.exists():
        raise InputError(
            f'{pointer} tells of a checkpoint, but there is none in {folder}. Remove the file to begin anew, or name '
            'the checkpoint with --resume PATH.'
        )
    _say(runner, f'nothing to resume in {folder}: the training starts from the beginning.')
    return None


def _say(runner: Runner, text: str) -> None:
    runner.logger.warning(text)
    if all(handler.level > logging.WARNING for handler in runner.logger.handlers):  # log_level = 'ERROR'
        print(text, file=sys.stderr)
