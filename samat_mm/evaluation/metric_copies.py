"""Copies of a data set's metrics, which write their files beside those of the clean images and never over them."""

import copy
import os
import re
from pathlib import Path
from typing import Any

from mmengine.evaluator import Evaluator

from samat_mm.files.outputs import file_name

# Names of attributes that hold what a metric reads: an existing file under such a name is not written.
READ = re.compile(r'ann|gt|truth|label|class|question|input|source|annot|categor|map|data_root', re.IGNORECASE)
FILE = re.compile(r'\w[ \w-]*\.[A-Za-z]\w{0,7}$')
OF_EVERY_METRIC = ('prefix', 'default_prefix', 'collect_device', 'collect_dir')


def evaluator_for(attack: str, evaluator: Evaluator) -> Evaluator:
    """Return a copy of an evaluator for an attack, whose metrics write files of their own.

    Every path that a metric holds, and that it does not read, gets the attack's name: 'predictions-pgd-linf.pkl' beside
    'predictions.pkl'.

    Args:
        attack: its name.
        evaluator: with the data set's metrics, for the clean images.
    """
    copied = copy.deepcopy(evaluator)
    for metric in copied.metrics:
        for name, value in list(vars(metric).items()):
            if _is_written(name, value):
                setattr(metric, name, type(value)(beside(str(value), attack)))
        folder = getattr(metric, 'output_dir', None)
        if folder:  # mmsegmentation's metrics make it when they are built
            Path(folder).mkdir(parents=True, exist_ok=True)
    return copied


def beside(path: str, attack: str) -> str:
    """Return the path with the attack's name before its suffix."""
    root, suffix = os.path.splitext(path) if FILE.search(path) else (path.rstrip('/'), '')
    return f'{root}-{file_name(attack)}{suffix}'


def _is_written(name: str, value: Any) -> bool:
    if not isinstance(value, (str, Path)) or not str(value) or name in OF_EVERY_METRIC:
        return False
    called_one = name.endswith(('dir', 'path', 'file', 'folder', 'prefix'))
    is_path = called_one or isinstance(value, Path) or os.sep in str(value) or bool(FILE.search(str(value)))
    return is_path and not (READ.search(name) and Path(value).exists())
