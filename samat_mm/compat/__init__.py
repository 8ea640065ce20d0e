"""The only room that knows about distributions, versions and where files come from, and that changes MMEngine.

Three functions change the process. None of them imports MMEngine: they act on its modules when these are imported.

:func:`secure_process`, by ``import samat_mm``: what a file contains is data, in every process that imports samat_mm.
    Checkpoints, pickles and YAML files that MMEngine loads execute nothing, inferencers do not execute the config that
    a checkpoint carries, and a resumed training removes no file that a checkpoint names in another folder.
:func:`adapt_process`, by ``import samat_mm``: what our parts need of MMEngine in a project of somebody else.
    Registries find our parts, ``mmseg::`` in a config leads to the installed distribution, ``resume=True`` continues
    from the newest whole checkpoint, and ``default_hooks.NAME=None`` leaves out one of our hooks, too.
:func:`repair_process`, by the tools and by scripts that want it: defects of MMEngine and of installations.
    A checkpoint gets its name when it is complete, ``mmengine.hub`` installs nothing, and torchvision is importable
    next to a CPU-only torch (which ``samat_mm.datasets`` needs, too, because mmsegmentation imports torchvision).
"""

import sys
from collections.abc import Callable
from functools import cache
from typing import Any

from samat_mm.compat import distributions, loaders, pickles, registries, runners
from samat_mm.compat.checkpoints import TRUST_VARIABLE, load_checkpoint_bytes, load_checkpoint_file
from samat_mm.compat.distributions import is_installed, versions
from samat_mm.compat.imports import when_imported

__all__ = [
    'TRUST_VARIABLE',
    'adapt_process',
    'is_installed',
    'load_checkpoint_bytes',
    'load_checkpoint_file',
    'repair_process',
    'secure_process',
    'versions',
]


def secure_process() -> None:
    """Let no file that MMEngine loads execute code or remove other files."""
    when_imported('mmengine.fileio', pickles.load_files_safely)
    when_imported('mmengine.runner', loaders.load_checkpoints_safely)
    when_imported('mmengine.infer', loaders.refuse_models_from_checkpoints)
    when_imported('mmengine.hooks', runners.stay_in_the_own_folder)


def adapt_process(register: Callable[[], object], resume: Callable[[Any], None]) -> None:
    """Make our parts available to MMEngine, and adapt its runner to them.

    Args:
        register: registers the parts: called at once if MMEngine has been imported, otherwise when a part is missing.
        resume: prepares a runner to continue from the newest whole checkpoint.
    """
    when_imported('mmengine.config', distributions.map_config_references)
    when_imported('mmengine.runner', lambda: runners.resume_what_can_be_resumed(resume))
    when_imported('mmengine.runner', runners.let_default_hooks_be_left_out)
    if sys.modules.get('mmengine') is not None:
        register()
    else:
        when_imported('mmengine.registry', lambda: registries.ask_when_missing(register))


@cache
def repair_process() -> None:
    """Repair what would otherwise go wrong in MMEngine or with the installed distributions; once per process."""
    distributions.let_torchvision_import()
    when_imported('mmengine.hub', distributions.refuse_installations)
    when_imported('mmengine.runner', runners.save_checkpoints_whole)
