"""The only room that knows about distributions, versions and where files come from, and that changes MMEngine.

Three functions change the process. None of them imports MMEngine: they patch its modules when these are imported.

:func:`secure_process`, called by ``import samat_mm``: files are data, in every process that imports samat_mm.
    Checkpoints, pickles and YAML files that MMEngine loads do not execute code, inferencers do not execute the config
    in a checkpoint, and a resumed training does not remove files that a checkpoint names in another folder.
:func:`adapt_process`, called by ``import samat_mm``: our parts work in the projects of others.
    Registries find our parts, ``mmseg::`` in a config leads to the installed distribution and ``samat_mm::`` to our
    configs, ``resume=True`` continues from the newest whole checkpoint, and ``default_hooks.NAME=None`` also leaves
    out our hooks. torchvision, which OpenMMLab imports, can be imported next to a CPU-only torch.
:func:`repair_process`, called by the commands: defects of MMEngine and of installations are mended.
    A checkpoint gets its name when it is complete, ``mmengine.hub`` does not install packages, and libraries do not
    print messages for debugging.
"""

import sys
from collections.abc import Callable
from functools import cache
from typing import Any

from samat_mm.compat import config_names, distributions, loaders, pickles, registries, runners, terminal
from samat_mm.compat.checkpoints import TRUST_VARIABLE, load_checkpoint_bytes, load_checkpoint_file
from samat_mm.compat.distributions import is_installed, versions
from samat_mm.compat.imports import when_imported
from samat_mm.compat.pickles import load_pickle_bytes
from samat_mm.compat.terminal import quiet
from samat_mm.files.configs import PREFIX, find_config

__all__ = [
    'TRUST_VARIABLE',
    'adapt_process',
    'is_installed',
    'load_checkpoint_bytes',
    'load_checkpoint_file',
    'load_pickle_bytes',
    'quiet',
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
    when_imported('torchvision.extension', distributions.declare_torchvision_operators)
    when_imported('mmengine.config', distributions.map_config_references)
    when_imported('mmengine.config', lambda: config_names.find_bases(PREFIX, find_config))
    when_imported('mmengine.hub', lambda: config_names.find_in_hub(PREFIX, find_config))
    when_imported('mmengine.runner', lambda: runners.resume_what_can_be_resumed(resume))
    when_imported('mmengine.runner', runners.let_default_hooks_be_left_out)
    if sys.modules.get('mmengine') is not None:
        register()
    else:
        when_imported('mmengine.registry', lambda: registries.ask_when_missing(register))


@cache
def repair_process() -> None:
    """Repair defects of MMEngine and of the installed distributions, once per process."""
    when_imported('mmengine.hub', distributions.refuse_installations)
    when_imported('mmengine.logging', terminal.print_no_debugging_messages)
    when_imported('mmengine.runner', runners.save_checkpoints_whole)
