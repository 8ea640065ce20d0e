"""Change how MMEngine's runner saves, resumes and removes checkpoints, and how it leaves out hooks."""

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any


def save_checkpoints_whole() -> None:
    """Give a checkpoint its name only when it is complete, so a training killed while saving leaves no partial file."""
    from mmengine.fileio import LocalBackend, get_file_backend
    from mmengine.runner import runner

    original = runner.save_checkpoint

    @wraps(original)
    def save_checkpoint(
        checkpoint: dict, filename: str, file_client_args: dict | None = None, backend_args: dict | None = None
    ) -> None:
        more = {'file_client_args': file_client_args, 'backend_args': backend_args}
        if file_client_args or not isinstance(get_file_backend(filename, backend_args=backend_args), LocalBackend):
            original(checkpoint, filename, **more)
            return
        partial = f'{filename}.partial'
        original(checkpoint, partial, **more)
        os.replace(partial, filename)

    runner.save_checkpoint = save_checkpoint


def resume_what_can_be_resumed(resume: Callable[[Any], None]) -> None:
    """Let ``resume = True`` in a config continue from the newest checkpoint that is whole.

    MMEngine takes the one that the file ``last_checkpoint`` names, wherever it is and whether it can be read or not,
    and starts from the beginning without that file.

    Args:
        resume: prepares a runner to continue from that checkpoint.
    """
    from mmengine.runner import Runner

    original = Runner.load_or_resume

    @wraps(original)
    def load_or_resume(self: Any) -> None:
        if self._resume and self._load_from is None and not self._has_loaded:
            self._resume = False
            resume(self)
        original(self)

    Runner.load_or_resume = load_or_resume


def stay_in_the_own_folder() -> None:
    """Keep a resumed training from removing files in other folders.

    A checkpoint states the path of the best checkpoint of its training, which is removed when there is a better one.
    After a work_dir was copied, that path is a file of the original; in somebody else's file, it may be any folder.
    """
    from mmengine.hooks import CheckpointHook

    original = CheckpointHook.before_train

    @wraps(original)
    def before_train(self: Any, runner: Any) -> None:
        hub = runner.message_hub
        if 'keep_ckpt_ids' in hub.runtime_info:  # numbers in file names
            numbers = hub.get_info('keep_ckpt_ids')
            hub.update_info('keep_ckpt_ids', [number for number in numbers if type(number) is int])
        original(self, runner)
        if getattr(self, 'best_ckpt_path', None):
            self.best_ckpt_path = own(self, self.best_ckpt_path)
        for indicator, path in getattr(self, 'best_ckpt_path_dict', {}).items():
            self.best_ckpt_path_dict[indicator] = own(self, path) if path else None

    def own(hook: Any, path: Any) -> str | None:
        path = hook.file_backend.join_path(hook.out_dir, Path(str(path)).name)
        return path if hook.file_backend.isfile(path) else None

    CheckpointHook.before_train = before_train


def let_default_hooks_be_left_out() -> None:
    """Make ``default_hooks.NAME=None`` leave out any default hook; MMEngine only allows it for its own."""
    from mmengine.hooks import Hook
    from mmengine.runner import Runner

    original = Runner.register_default_hooks

    @wraps(original)
    def register_default_hooks(self: Any, hooks: dict | None = None) -> None:
        idle = Hook()
        original(self, {name: idle if hook is None else hook for name, hook in (hooks or {}).items()})
        self._hooks = [hook for hook in self._hooks if hook is not idle]

    Runner.register_default_hooks = register_default_hooks
