"""Measure the sharpness of the training loss: from a config to numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import Config
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from torch import nn

from samat_mm.checkpoints.loading import load_for_evaluation
from samat_mm.evaluation.progress import shows_bars
from samat_mm.evaluation.provenance import provenance
from samat_mm.files.inputs import checkpoint_file
from samat_mm.model_state import unwrapped
from samat_mm.perturbations.weights import SAM
from samat_mm.runners.builders import build_runner_and_model
from samat_mm.runners.config_errors import building
from samat_mm.runners.config_files import load_config
from samat_mm.runners.console import announce, console_of
from samat_mm.sharpness import Measurement, draw_batches, loss_landscape, loss_surface, one_step_rises, prepare
from samat_mm.sharpness.landscape import POINTS, Landscape
from samat_mm.sharpness.objective import sample_count
from samat_mm.sharpness.report import build_report

# What a training needs besides its data; MMEngine builds a runner with all or none of them.
OF_TRAINING = ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler')


@dataclass(frozen=True)
class Sharpness:
    """The sharpness of the training loss of a model.

    Attributes:
        metrics: worst-case rises of the loss, and the curvature, by name.
        samples: number of training samples on which they were measured.
        measurement: the settings.
        radii: radii of the single step, in the units of the weights.
        rises: the rise of the loss at each of them.
        landscape: the loss along random directions, if it was asked for.
        provenance: what the numbers can be made again from.
    """

    metrics: dict[str, float]
    samples: int
    measurement: Measurement
    radii: list[float]
    rises: list[float]
    landscape: Landscape | None
    provenance: dict[str, Any]

    def document(self, config: str, checkpoint: str | None) -> dict[str, Any]:
        """Return the document that ``samat-mm sharpness --out`` writes."""
        curves: dict[str, Any] = {'radii': self.radii, 'rises': self.rises} if self.radii else {}
        if self.landscape is not None:
            curves.update(positions=self.landscape.positions.tolist(), losses=self.landscape.losses.tolist())
        named: dict[str, Any] = {'config': config, 'checkpoint': checkpoint, 'samples': self.samples}
        return {**build_report(self.metrics, self.measurement, curves, **named), 'provenance': self.provenance}


def measure_sharpness(
    config: Config | str | Path,
    checkpoint: str | Path | nn.Module,
    measurement: Measurement | None = None,
    *,
    batches: int = 4,
    radii: Sequence[float] = (),
    dimensions: int = 0,
    work_dir: str | Path | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    verbose: bool = False,
) -> Sharpness:
    """Measure the sharpness of the training loss of a model.

    Args:
        config: config of the model and the training data, or its file.
        checkpoint: a local checkpoint of that config, or the model itself, which stays as it was, except that MMEngine
            moves it to its device.
        measurement: radii, steps, probes and seed.
        batches: number of training batches.
        radii: radii at which to measure the rise of the loss after one step of SAM.
        dimensions: number of dimensions of the loss landscape: 1, 2, or 0 for none.
        work_dir: folder of the log; by default that of the config, or else ``work_dirs/NAME``.
        cfg_options: entries of the config to replace, by their dotted names.
        verbose: show MMEngine's log on the terminal, too.

    Raises:
        ValueError: if an argument does not fit, or the config cannot be built.
        OSError: if something cannot be read or written.

    Example:
        >>> import samat_mm
        >>> sharpness = samat_mm.measure_sharpness('samat_mm::smallcnn_handwriting_sgd.py', 'sgd.pth', batches=1)
        >>> sharpness.metrics['sam'] > 0
        True
    """
    given = isinstance(checkpoint, nn.Module)
    label, path = ('model', None) if given else (Path(str(checkpoint)).name, str(checkpoint_file(str(checkpoint))))
    return measure_each(
        config,
        {label: path},
        measurement or Measurement(),
        batches,
        radii,
        dimensions,
        model=checkpoint if isinstance(checkpoint, nn.Module) else None,
        work_dir=work_dir,
        cfg_options=cfg_options,
        verbose=verbose,
    )[label]


def measure_each(
    config: Config | str | Path,
    checkpoints: Mapping[str, str | None],
    measurement: Measurement,
    batches: int = 4,
    radii: Sequence[float] = (),
    dimensions: int = 0,
    *,
    model: nn.Module | None = None,
    work_dir: str | Path | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    verbose: bool = False,
) -> dict[str, Sharpness]:
    """Measure several checkpoints of a config on the same batches; see :func:`measure_sharpness`.

    Args:
        config: config of the model and the training data, or its file.
        checkpoints: the checkpoints by label; None for the weights that the model has.
        measurement: radii, steps, probes and seed.
        batches: number of training batches.
        radii: radii at which to measure the rise of the loss after one step of SAM.
        dimensions: number of dimensions of the loss landscape.
        model: the model, instead of a new one of the config.
        work_dir: folder of the log.
        cfg_options: entries of the config to replace.
        verbose: show MMEngine's log.
    """
    with console_of(verbose) as console:
        config = load_config(config, options=cfg_options, work_dir=work_dir)
        given = config.copy()
        config.merge_from_dict({**dict.fromkeys(OF_TRAINING), 'load_from': None, 'resume': False})
        runner = build_runner_and_model(config, None if model is None else unwrapped(model))
        model = unwrapped(runner.model)
        with building(config):
            drawn = draw_batches(given.get('train_dataloader'), batches, measurement.seed)
        if not verbose:
            announce(console, runner, {}, batches=f'{len(drawn)} of the training data')
        prepared = prepare(model, drawn, measurement.seed)
    passes = measurement.most_passes() + 1 + len(radii) + (POINTS**dimensions if dimensions else 0)
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    measured: dict[str, Sharpness] = {}
    with Progress(*columns, transient=True, disable=not shows_bars()) as progress:
        for label, checkpoint in checkpoints.items():
            if checkpoint is not None:
                load_for_evaluation(model, checkpoint)
            origin = provenance(given, model if checkpoint is None else checkpoint, 'train_dataloader')
            task = progress.add_task(f'{label}: passes, at most', total=passes)
            with loss_surface(model, prepared, on_pass=partial(progress.advance, task)) as surface:
                metrics = measurement.measure(surface)
                rises = one_step_rises(surface, SAM(measurement.rho), list(radii)) if radii else []
                landscape = loss_landscape(surface, dimensions, seed=measurement.seed) if dimensions else None
            samples = sample_count(prepared)
            curve = (list(radii), list(rises))
            measured[label] = Sharpness(dict(metrics), samples, measurement, *curve, landscape, origin)
    return measured
