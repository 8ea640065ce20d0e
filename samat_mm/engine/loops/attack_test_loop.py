"""A test under attacks that can be killed at any moment and then continues where it stopped."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from mmengine.evaluator import Evaluator
from mmengine.registry import LOOPS
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from samat_mm.crafting.crafting import Crafting
from samat_mm.crafting.protocols import PROTOCOLS, STRICT, refuse_protocol
from samat_mm.engine.loops.evaluation_loop import EvaluationLoop
from samat_mm.errors import InputError
from samat_mm.evaluation.attack_result import AttackResult
from samat_mm.evaluation.attack_run import CLEAN, AttackRun, build_runs
from samat_mm.evaluation.attacked_batch import AttackedBatch
from samat_mm.evaluation.evaluation_result import EvaluationResult, flat_metrics
from samat_mm.evaluation.export import Export
from samat_mm.evaluation.images import first_item, is_openmmlab_item
from samat_mm.evaluation.metric_copies import copied_evaluator
from samat_mm.evaluation.sanity import SanityChecks
from samat_mm.evaluation.sanity_verdicts import verdicts_of
from samat_mm.evaluation.transfer import checked_surrogate, on_surrogate, to_the_end
from samat_mm.model_state import unwrapped
from samat_mm.perturbations.checks import one_of
from samat_mm.perturbations.inputs import Attack
from samat_mm.pixels.pixel_range import stated_range
from samat_mm.presets import image_attacks
from samat_mm.tasks import Task, task_of


@LOOPS.register_module()
class AttackTestLoop(EvaluationLoop):
    """Tests a model on images, clean and under attacks; see :class:`EvaluationLoop`.

    Every image is scored by the model's own ``predict``.

    Args:
        runner: the runner of the test.
        dataloader: the test set; its sampler plays no part.
        evaluator: the metrics.
        fp16: predict in half precision, as in :class:`mmengine.runner.TestLoop`.
        checks: sanity checks, whose attacks run too, without pictures and files.
        craft_dtype: precision of the attacks, 'float32', 'bfloat16' or 'mixed'; scores are always the model's own.
        protocol: 'strict' attacks the function that is scored; 'paper-compat' the one that the code released with the
            duality paper attacks, see :func:`samat_mm.pixels.unnormalised.unnormalised`.
        surrogate: model on which all ``attacks`` are made; the tested model scores their images.
        pixel_range: values of the images that stand for the pixels 0 and 1, (0, 10000) for instance; by default the
            config's, or 0 and 255. ``eps`` is in units of it.
        show_dir: folder for one picture per image and attack, of the images that are attacked in this run.
        export_dir: folder for the adversarial images as PNG files, which are read and scored again.
        **options: ``attacks``, ``max_samples``, ``numbers`` and ``resume``, see :class:`EvaluationLoop`.

    Raises:
        ValueError: if an argument does not fit.
    """

    unit: ClassVar[str] = 'image'

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        evaluator: Evaluator | dict | list,
        fp16: bool = False,
        *,
        checks: SanityChecks | None = None,
        craft_dtype: str | None = None,
        protocol: str = STRICT,
        surrogate: nn.Module | None = None,
        pixel_range: Sequence[float] | None = None,
        show_dir: str | None = None,
        export_dir: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(runner, dataloader, evaluator, fp16, **options)
        self.attacks = image_attacks(self.attacks)
        self.checks = checks
        self.protocol = one_of(protocol, list(PROTOCOLS), 'protocol')
        self.crafting = Crafting(unwrapped(runner.model), craft_dtype, PROTOCOLS[protocol])
        self.surrogate = surrogate
        self.pixel_range = stated_range(runner.cfg, pixel_range)
        self.show_dir = Path(show_dir) if show_dir else None
        self.export = Export(Path(export_dir)) if export_dir else None

    def stated(self) -> dict[str, Any]:
        """Return the precision and the protocol of the attacks."""
        return {'craft_dtype': self.crafting.dtype or 'float32', 'protocol': self.protocol}

    def run(self) -> dict[str, Any]:
        """Test, and return the metrics; those under attack have its name as a prefix: 'pgd-linf/mIoU'."""
        first = first_item(self.dataloader.dataset, self.numbers)
        if not is_openmmlab_item(first):
            return self._run_in_one_piece()
        task = task_of(unwrapped(self.runner.model), [first['data_samples']], self.evaluator.metrics)
        refuse_protocol(self.protocol, task, has_checks=self.checks is not None)
        attacks = {name: task.fitted(attack) for name, attack in self.attacks.items()}
        if self.surrogate is not None:
            attacks = {name: to_the_end(attack) for name, attack in attacks.items()}
        checks = {} if self.checks is None else self.checks.attacks(task)
        checks = {name: task.fitted(attack) for name, attack in checks.items()}
        example = self._example(first, task) if attacks or checks else None
        self.runner.call_hook('before_test')
        self.runner.call_hook('before_test_epoch')
        self.runner.model.eval()
        runs = self._runs(attacks, checks, example)
        scored = self.scored(runs, attacks, self._settings(), partial(self._batch, task=task))
        by_attack = scored.by_attack
        metrics = flat_metrics(by_attack, attacks)
        self.runner.call_hook('after_test_epoch', metrics=metrics)
        self.runner.call_hook('after_test')
        verdicts = [] if self.checks is None else verdicts_of(self.checks, by_attack, task)
        pixel_range = None if example is None else example.range()
        self.result = EvaluationResult(
            metrics, attacks, by_attack, len(self.numbers), scored.folder, scored.resumed, pixel_range, tuple(verdicts)
        )
        return metrics

    def _runs(
        self, attacks: Mapping[str, Attack], checks: Mapping[str, Attack], example: AttackedBatch | None
    ) -> dict[str, AttackRun]:
        """Return what is scored: the clean images, the attacks, and the attacks of the sanity checks."""
        runs = {CLEAN: AttackRun(CLEAN, None, self.crafting, copied_evaluator(self.evaluator))}
        if example is None:
            return runs
        others = {} if self.checks is None else self.checks.surrogates(example.model)
        noisy = {name: on_surrogate(self.crafting, other, example.task) for name, other in others.items()}
        chosen: dict[str, Crafting] = {}
        if self.surrogate is not None:
            crafting = checked_surrogate(self.crafting, self.surrogate, example, self.evaluator.metrics)
            chosen = dict.fromkeys(attacks, crafting)
        build = partial(build_runs, crafting=self.crafting, evaluator=self.evaluator)
        runs |= build(attacks, surrogates=chosen, show_dir=self.show_dir, export=self.export)
        return runs | build(checks, surrogates=noisy)

    def _settings(self) -> dict[str, Any]:
        """Return the settings, besides the attacks, that the scores depend on."""
        return {
            'craft_dtype': self.crafting.dtype,
            'protocol': self.protocol,
            'pixel_range': self.pixel_range,
        }

    def _example(self, first: Any, task: Task) -> AttackedBatch:
        """Return the first image, and refuse images that cannot be attacked or exported, before anything is done."""
        found = self._batch(self.dataloader.collate_fn([first]), task)
        found.range()
        if self.export is not None:
            self.export.check(first['inputs'], self.pixel_range)
        return found

    def _batch(self, data_batch: Any, task: Task) -> AttackedBatch:
        model = unwrapped(self.runner.model)
        return AttackedBatch(model, data_batch, self.fp16, task=task, pixel_range=self.pixel_range)

    def _run_in_one_piece(self) -> dict[str, Any]:
        """Test batches of another form than OpenMMLab's as MMEngine's ``TestLoop`` does, without attacks.

        Raises:
            ValueError: if more than clean metrics of the whole data set is asked for.
        """
        wanted, size = [*self.attacks, self.checks, self.export], len(self.dataloader.dataset)
        if any(wanted) or len(self.numbers) < size or self.resume:
            raise InputError(
                'attacks, sanity checks, --max-samples and --resume need a data set with items '
                f'dict(inputs=image, data_samples=...), as those of OpenMMLab have; '
                f'{type(self.dataloader.dataset).__name__} has others, which are tested clean and whole only.'
            )
        metrics = super().run()
        clean = AttackResult(metrics, [])
        self.result = EvaluationResult(metrics, {}, {CLEAN: clean}, size, Path(self.runner.work_dir))
        return metrics
