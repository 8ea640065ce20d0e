"""Copies of a data set's metrics, which write their files next to those of the clean images and never over them."""

import copy
import os
import re
from pathlib import Path
from typing import Any

from mmengine.evaluator import BaseMetric, Evaluator

from samat_mm.errors import InputError
from samat_mm.files.outputs import file_name

CALLED_PATHS = ('dir', 'path', 'file', 'folder', 'file_prefix', 'outfile_prefix')  # endings of names
READ = re.compile(
    r'(^|_)(ann|anns|annotations?|gt|ground_truth|inputs?|sources?|questions?|images?|imgs?|data_root)(_|$)'
)
SUFFIXES = ('.pkl', '.json', '.csv', '.tsv', '.txt', '.log', '.yaml', '.npy', '.npz', '.h5', '.pth', '.zip', '.html')
OF_EVERY_METRIC = ('prefix', 'default_prefix', 'collect_device', 'collect_dir', 'results', '_dataset_meta')
DEPTH = 3  # of containers and objects that are looked into


def evaluator_for(attack: str, evaluator: Evaluator) -> Evaluator:
    """Return a copy of an evaluator for an attack, whose metrics write their own files.

    Every path that a metric holds gets the attack's name, 'predictions-pgd-linf.pkl' next to 'predictions.pkl',
    unless its name says that it is read ('ann_file', 'gt_dir', 'data_root', ...). Paths are values of type ``Path``,
    absolute paths, values whose name says so ('output_dir', 'out_file_path', ...), and file names with a usual suffix.

    Args:
        attack: name of the attack.
        evaluator: evaluator with the data set's metrics, for the clean images.

    Raises:
        ValueError: if a metric cannot be copied.
    """
    copied = copied_evaluator(evaluator)
    for metric in copied.metrics:
        for name, value in list(vars(metric).items()):
            if name not in OF_EVERY_METRIC:
                setattr(metric, name, _redirected(name, value, attack, DEPTH))
        folder = getattr(metric, 'output_dir', None)
        if folder:  # mmsegmentation's metrics make it when they are built
            Path(folder).mkdir(parents=True, exist_ok=True)
    return copied


def copied_evaluator(evaluator: Evaluator) -> Evaluator:
    """Return a copy of an evaluator.

    Raises:
        ValueError: if a metric holds something that cannot be copied.
    """
    try:
        return copy.deepcopy(evaluator)
    except TypeError as error:
        names = ', '.join(type(metric).__name__ for metric in evaluator.metrics)
        raise InputError(
            f'the metrics {names} cannot be copied for each attack ({error}); let them open files when they are '
            'needed, and hold names rather than open files.'
        ) from error


def beside(path: str, attack: str) -> str:
    """Return the path with the attack's name before its suffix."""
    root, suffix = os.path.splitext(path.rstrip('/'))
    return f'{root}-{file_name(attack)}{suffix}'


def _redirected(name: str, value: Any, attack: str, depth: int) -> Any:
    """Return a value that a copied metric holds, with its paths redirected; objects are changed in place."""
    if READ.search(name) or depth == 0:
        return value
    if isinstance(value, (str, Path)):
        return type(value)(beside(str(value), attack)) if _is_path(name, value) else value
    if type(value) is dict:
        return {key: _redirected(str(key), entry, attack, depth - 1) for key, entry in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_redirected(name, entry, attack, depth - 1) for entry in value)
    if type(value).__module__.partition('.')[0] in ('torch', 'numpy', 'builtins') or isinstance(value, type):
        return value
    for key, entry in list(getattr(value, '__dict__', {}).items()):
        vars(value)[key] = _redirected(key, entry, attack, depth - 1)
    return value


def _is_path(name: str, value: str | Path) -> bool:
    text = str(value)
    if not text or '://' in text:
        return False
    return (
        isinstance(value, Path)
        or text.startswith('/')
        or name.endswith(CALLED_PATHS)
        or os.path.splitext(text)[1] in SUFFIXES
    )


def state_of(metric: BaseMetric) -> dict[str, str]:
    """Return the attributes of a metric except its results, as text that later changes do not reach."""
    return {name: repr(value) for name, value in vars(metric).items() if name not in OF_EVERY_METRIC}


def refuse_memory(metric: BaseMetric, before: dict[str, str]) -> None:
    """Refuse a metric that keeps results in its own attributes, where a kill would lose them.

    Args:
        metric: the metric after an image, of which ``results`` hold nothing.
        before: its state before the image, see :func:`state_of`.

    Raises:
        ValueError: naming the attribute.
    """
    for name, value in state_of(metric).items():
        if value != before.get(name):
            raise InputError(
                f'{type(metric).__name__} keeps its results in {name} and not in results, so it cannot be '
                'resumed image by image; append to self.results in process, or test with the TestLoop and an '
                'AttackEvaluationHook.'
            )
