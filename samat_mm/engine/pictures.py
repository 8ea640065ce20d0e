"""Pictures for the backends of MMEngine's visualizer, each of which takes other names."""

import numpy as np
from mmengine.dist import is_main_process
from mmengine.runner import BaseLoop, Runner
from mmengine.visualization import LocalVisBackend
from mmengine.visualization.vis_backend import MLflowVisBackend

from samat_mm.files.outputs import file_name


def add_picture(runner: Runner, name: str, picture: np.ndarray) -> None:
    """Give a picture to every backend of the runner's visualizer, in the main process.

    TensorBoard and the like get it under its name and step. MLflow takes files, whose names need a suffix and replace
    each other: there it is 'NAME_STEP.png', and so it is in the folder of MMEngine's local backend, where a '/' of
    the name is '-'.

    Args:
        runner: the runner; the step is its iteration, 0 outside training.
        name: name of the picture, 'pgd-linf/000004'.
        picture: RGB picture of 8 bits, shape (H, W, 3).
    """
    if not is_main_process():
        return
    step = runner.iter if isinstance(runner._train_loop, BaseLoop) else 0  # to ask would build the loop
    for backend in runner.visualizer._vis_backends.values():
        if isinstance(backend, MLflowVisBackend):
            backend.add_image(f'{name}_{step}.png', picture, step)
        else:
            backend.add_image(file_name(name) if isinstance(backend, LocalVisBackend) else name, picture, step)
