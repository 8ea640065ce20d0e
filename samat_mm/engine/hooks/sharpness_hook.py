"""Sharpness next to the validation metrics, and a picture of the loss landscape at the end."""

from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from samat_mm.engine.hooks.attack_evaluation_hook import validation_number
from samat_mm.engine.pictures import add_picture
from samat_mm.errors import InputError
from samat_mm.model_state import unwrapped
from samat_mm.sharpness import Measurement, draw_batches, loss_landscape, loss_surface, prepare
from samat_mm.sharpness.landscape import LANDSCAPES
from samat_mm.visualization.landscape import draw_lines, draw_plane, to_rgb

PREFIX = 'sharpness'


@HOOKS.register_module()
class SharpnessHook(Hook):
    """Measures how sharp the training loss is whenever the model is validated.

    The metrics get 'sharpness/sam' and 'sharpness/asam', the rise of the loss at the points to which SAM and ASAM move
    the weights, 'sharpness/sam-5-step' and 'sharpness/asam-5-step', the greatest rise that 5 steps find in the same
    balls, and the Hessian's 'sharpness/top_eigenvalue' and 'sharpness/trace', each with its error. The batches
    are drawn once, by ``seed``, from its own data set, and stay in the model's memory: the hook leaves the
    training unchanged. In a distributed run every process measures the same batches. The images are those of the data
    set, also where the model is trained on adversarial ones.

    One measurement takes about 70 passes over the batches, and its Hessian more memory than a training step (smaller
    batches or ``probes=0`` help). Where the loss is not finite or has no second derivative, the metrics are NaN and the
    training continues. At the end of the training the visualizer gets a picture of the loss along random
    filter-normalised directions, around the weights of the last iteration (not those of an averaged model).

    Args:
        interval: number of validations from one measurement to the next; between them the metrics are NaN.
        batches: number of training batches.
        rho: radius of SAM's ball.
        asam_rho: radius of ASAM's ball.
        steps: number of steps of the longer ascent.
        probes: number of random vectors that the trace is estimated from; 0 leaves the Hessian out.
        landscape: 'none', '1d' for a line or '2d' for a plane.
        seed: seed of the batches and random vectors.

    Raises:
        ValueError: if a value is out of its range.
    """

    # Behind AttackEvaluationHook (0), which repeats the metrics that it finds, and ahead of the hooks that log (10),
    # save the best checkpoint or stop early by the metrics.
    priority = 5

    def __init__(
        self,
        interval: int = 1,
        batches: int = 4,
        rho: float = 0.05,
        asam_rho: float = 0.5,
        steps: int = 5,
        probes: int = 10,
        landscape: str = '1d',
        seed: int = 0,
    ) -> None:
        for name, value in (('interval', interval), ('batches', batches)):
            if value < 1:
                raise InputError(f'{name} must be at least 1; got {value}.')
        if landscape not in LANDSCAPES:
            raise InputError(f'landscape must be one of {", ".join(LANDSCAPES)}; got {landscape!r}.')
        self.interval, self.batches, self.landscape = interval, batches, landscape
        self.measurement = Measurement(rho, asam_rho, steps, probes, seed)
        self._prepared: list[dict[str, Any]] = []

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Add the sharpness to ``metrics``, measured at every ``interval``-th validation."""
        if metrics is None:
            return
        # save_best and early stopping look for them at every validation
        results = dict.fromkeys(self.measurement.names, float('nan'))
        if (validation_number(runner) - 1) % self.interval == 0:
            runner.logger.info(f'Sharpness: {self.measurement}')
            model, batches = unwrapped(runner.model), self._batches(runner)
            try:
                with loss_surface(model, batches) as surface:
                    results = self.measurement.measure(surface)
            except (FloatingPointError, ValueError) as error:
                runner.logger.warning(f'No sharpness at this validation: {error}')
            shared = [results]
            broadcast_object_list(shared)  # the sums of two accelerators may differ in the last bit
            results = shared[0]
        # MMEngine's logger would replace metrics with 'loss' in their name by their mean over the validations so far.
        metrics.update({f'{PREFIX}/{name}': value for name, value in results.items() if name != 'loss'})

    def after_train(self, runner: Runner) -> None:
        """Draw the landscape."""
        dimensions = LANDSCAPES[self.landscape]
        if dimensions and is_main_process():
            with loss_surface(unwrapped(runner.model), self._batches(runner)) as surface:
                landscape = loss_landscape(surface, dimensions, seed=self.measurement.seed)
            figure = draw_plane(landscape) if dimensions == 2 else draw_lines({'': landscape})
            add_picture(runner, 'loss_landscape', to_rgb(figure))
        self._prepared = []

    def _batches(self, runner: Runner) -> list[dict[str, Any]]:
        if not self._prepared:
            seed = self.measurement.seed
            drawn = draw_batches(runner._train_dataloader, self.batches, seed)
            self._prepared = prepare(unwrapped(runner.model), drawn, seed)
        return self._prepared
