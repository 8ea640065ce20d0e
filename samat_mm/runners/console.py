"""What a run shows on the terminal: a line each for config, model and data, instead of MMEngine's log."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from mmengine.dist import is_main_process
from mmengine.runner import Runner
from rich.console import Console
from torch import nn

from samat_mm.compat import quiet
from samat_mm.model_state import unwrapped
from samat_mm.runners.traces import is_in_library

LABEL = 8  # characters


@contextmanager
def console_of(verbose: bool) -> Iterator[Console]:
    """Yield the console of a run, and keep MMEngine's log off the terminal unless it is wanted."""
    with nullcontext() if verbose else quiet(lambda file: not is_in_library(file)):
        yield Console(highlight=False, soft_wrap=True)


def announce(console: Console, runner: Runner, data: Mapping[str, Any], **more: str) -> None:
    """Print what a run consists of, one line for each part.

    Args:
        console: where to print.
        runner: the runner, which has its model.
        data: loaders by what their samples are for, such as 'to train on'.
        **more: further lines by their label.
    """
    console.quiet = console.quiet or not is_main_process()  # not before: building the runner joins the processes
    lines = {
        'config': str(runner.cfg.filename or 'in memory'),
        'model': model_line(unwrapped(runner.model)),
        **({'data': '; '.join(f'{data_line(loader)} {use}' for use, loader in data.items())} if data else {}),
        **more,
        'log': str(runner.logger.log_file or runner.log_dir),
    }
    for label, text in lines.items():
        console.print(f'[bold]{label:<{LABEL}}[/]', end='')
        console.print(text, markup=False)


def model_line(model: nn.Module) -> str:
    """Return a model in a few words: its type, that of its backbone, and the number of its parameters."""
    parts = [type(model).__name__]
    if isinstance(getattr(model, 'backbone', None), nn.Module):
        parts.append(type(model.backbone).__name__)
    count = sum(parameter.numel() for parameter in model.parameters())
    return f'{" with ".join(parts)}, {count:,} parameters'


def data_line(loader: Any) -> str:
    """Return a data set in a few words: its type and the number of its samples."""
    return f'{type(loader.dataset).__name__}, {len(loader.dataset):,}'
