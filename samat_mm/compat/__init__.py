"""The only part that knows about distributions, versions and where files come from.

Importing it repairs, for the whole process, what would otherwise go wrong before any of our code runs: cross-references
between configs, torchvision beside a CPU-only torch, files that could run code, and trainings that could not go on.
"""

from samat_mm.compat import distributions, loaders, pickles, runners
from samat_mm.compat.checkpoints import TRUST_VARIABLE, load_checkpoint_bytes, load_checkpoint_file
from samat_mm.compat.distributions import is_installed, versions

__all__ = ['TRUST_VARIABLE', 'is_installed', 'load_checkpoint_bytes', 'load_checkpoint_file', 'versions']

distributions.let_torchvision_import()
distributions.map_config_references()
distributions.refuse_installations()
loaders.load_checkpoints_safely()
loaders.refuse_models_from_checkpoints()
pickles.load_files_safely()
runners.save_checkpoints_whole()
runners.resume_what_can_be_resumed()
runners.stay_in_the_own_folder()
runners.let_default_hooks_be_left_out()
