"""A test under attacks that can be killed at any moment and goes on where it stopped."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.dist import barrier, get_rank, get_world_size
from mmengine.evaluator import Evaluator
from mmengine.registry import LOOPS
from mmengine.runner import Runner, TestLoop
from torch.utils.data import DataLoader

from samat_mm.crafting.crafting import Crafting
from samat_mm.engine.agreement import decided_by_main
from samat_mm.errors import InputError
from samat_mm.evaluation.attacked_batch import AttackedBatch
from samat_mm.evaluation.export import Export
from samat_mm.evaluation.folders import Fingerprint, fingerprint, open_folder
from samat_mm.evaluation.image_score import ImageScore
from samat_mm.evaluation.images import first_item, is_openmmlab_item, read_batches
from samat_mm.evaluation.ledger import Ledger
from samat_mm.evaluation.outcome import Outcome, outcomes_of
from samat_mm.evaluation.progress import progress_by_attack
from samat_mm.evaluation.subsets import chosen_images
from samat_mm.evaluation.trials import CLEAN, EXPORTED, Trial, build_trials, members_of
from samat_mm.files.outputs import file_name
from samat_mm.model_state import refuse_augmented, unwrapped
from samat_mm.perturbations.inputs import Attack
from samat_mm.pixels.pixel_range import Range, stated_range
from samat_mm.presets import build_attacks, listed
from samat_mm.tasks import Task, task_of
from samat_mm.visualization.panels import save_panels

FOLDER = 'attack_results'


@LOOPS.register_module()
class AttackTestLoop(TestLoop):
    """Tests a model clean and under attacks, image by image.

    Every image is scored by the model's own ``predict``, and what the data set's metrics keep of it goes to disk at
    once, in ``work_dir/attack_results``, which all processes must see. A test that was killed goes on with the images
    that are left, on as many processes as there are now, and ends with the same numbers. Images are dealt out by
    number, so no process sees one twice, and there may be more processes than images.

    Args:
        runner: of the test.
        dataloader: the test set; its sampler plays no part.
        evaluator: the metrics.
        fp16: predict in half precision, as in :class:`mmengine.runner.TestLoop`.
        attacks: presets ('pgd-linf') or configs, which may carry a ``name``; or attacks by name.
        craft_dtype: precision of the attacks, 'float32', 'bfloat16' or 'mixed'; scores are always the model's own.
        pixel_range: the numbers of the images that are the pixels 0 and 1, (0, 10000) for instance; by default the
            config's, or 0 and 255. ``eps`` is in units of it.
        max_samples: test so many images only, spread evenly over the data set, see :func:`spread_order`.
        resume: whether it is an error if there is no evaluation to go on with.
        show_dir: folder for one picture per image and attack, of those that are attacked in this run.
        export_dir: folder for the adversarial images as PNG files, which are read and scored again.

    Attributes:
        numbers: of the images that are tested.
        task: what the model decides about them.
        range_in_use: the numbers of the images that are the pixels 0 and 1, where there are attacks.
        checks: attacks by name that are tried too, without pictures and files; only the outcomes tell of them.
        others: for attacks that are made on another model, how; by name.
        outcomes: after the test, what was found by attack, 'clean' among them, and the members of ensembles.
        folder: where the results of the images are.
        resumed: whether some of them were there before.

    Raises:
        ValueError: if an argument does not fit.
    """

    task: Task
    range_in_use: Range | None = None
    outcomes: dict[str, Outcome]
    folder: Path
    resumed: bool

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        evaluator: Evaluator | dict | list,
        fp16: bool = False,
        *,
        attacks: Sequence[str | dict] | Mapping[str, Attack] = (),
        craft_dtype: str | None = None,
        pixel_range: Sequence[float] | None = None,
        max_samples: int | None = None,
        resume: bool = False,
        show_dir: str | None = None,
        export_dir: str | None = None,
    ) -> None:
        super().__init__(runner, dataloader, evaluator, fp16)
        refuse_augmented(unwrapped(runner.model))
        self.attacks = dict(attacks) if isinstance(attacks, Mapping) else build_attacks(listed(attacks))
        self.crafting = Crafting(unwrapped(runner.model), craft_dtype)
        self.checks: dict[str, Attack] = {}
        self.others: dict[str, Crafting] = {}
        self.pixel_range = stated_range(runner.cfg, pixel_range)
        self.numbers = chosen_images(len(self.dataloader.dataset), max_samples)
        self.resume = resume
        self.show_dir = Path(show_dir) if show_dir else None
        self.export = Export(Path(export_dir)) if export_dir else None

    @property
    def samples(self) -> int:
        """The number of images that are tested."""
        return len(self.numbers)

    def run(self) -> dict[str, Any]:
        """Test, and return the metrics; those under attack have its name as a prefix: 'pgd-linf/mIoU'."""
        first = first_item(self.dataloader.dataset, self.numbers)
        if not is_openmmlab_item(first):
            return self._run_in_one_piece()
        self._prepare(first)
        self.runner.call_hook('before_test')
        self.runner.call_hook('before_test_epoch')
        self.runner.model.eval()
        trials = build_trials({**self.attacks, **self.checks}, self.crafting, self.evaluator, self.others)
        with ExitStack() as stack:
            self.folder, self.resumed = self._open(stack)
            ledger = Ledger(self.folder, get_rank())
            self._score_all(trials, ledger)
            evaluators = {record: trial.evaluator for name, trial in trials.items() for record in self._records(name)}
            self.outcomes = outcomes_of(evaluators, self.attacks, partial(ledger.read_images, self.numbers))
        metrics = {
            key if name == CLEAN else f'{name}/{key}': value
            for name, outcome in self.outcomes.items()
            if name == CLEAN or name in self.attacks
            for key, value in outcome.metrics.items()
        }
        self.runner.call_hook('after_test_epoch', metrics=metrics)
        self.runner.call_hook('after_test')
        return metrics

    def _prepare(self, first: Any) -> None:
        """Refuse what cannot be done with images like the first one, before anything is done."""
        model, attacks = unwrapped(self.runner.model), {**self.attacks, **self.checks}
        self.task = task_of(model, [first['data_samples']], self.evaluator.metrics)
        self.attacks = {name: self.task.fitted(attack) for name, attack in self.attacks.items()}
        self.checks = {name: self.task.fitted(attack) for name, attack in self.checks.items()}
        if attacks:
            self.range_in_use = self._batch(self.dataloader.collate_fn([first])).range()
            if self.export is not None:
                self.export.check(first['inputs'], self.pixel_range)

    def _batch(self, data_batch: Any) -> AttackedBatch:
        model = unwrapped(self.runner.model)
        return AttackedBatch(model, data_batch, self.fp16, task=self.task, pixel_range=self.pixel_range)

    def _run_in_one_piece(self) -> dict[str, Any]:
        """Test batches of another form than OpenMMLab's as MMEngine's ``TestLoop`` does, without attacks.

        Raises:
            ValueError: if more than clean metrics of the whole data set is asked for.
        """
        wanted = [*self.attacks, *self.checks, *(['export_dir'] if self.export else [])]
        if wanted or self.samples < len(self.dataloader.dataset) or self.resume:
            raise InputError(
                'attacks, sanity checks, --max-samples and --resume need a data set with items '
                f'dict(inputs=image, data_samples=...), as those of OpenMMLab have; '
                f'{type(self.dataloader.dataset).__name__} has others, which are tested clean and whole only.'
            )
        metrics = super().run()
        self.outcomes, self.folder, self.resumed = {CLEAN: Outcome(metrics, [])}, Path(self.runner.work_dir), False
        return metrics

    def _open(self, stack: ExitStack) -> tuple[Path, bool]:
        """Return the folder of this evaluation, the same in every process, and whether it was begun before."""
        parent, name = Path(self.runner.work_dir) / FOLDER, self.runner.timestamp
        folder, resumed = decided_by_main(
            lambda: stack.enter_context(open_folder(parent, self._fingerprint(), name, self.resume))
        )
        if not folder.is_dir():
            raise InputError(f'process {get_rank()} does not see {folder}; all need the same --work-dir.')
        if resumed:
            self.runner.logger.info(f'The evaluation in {folder} goes on.')
        return folder, resumed

    def _fingerprint(self) -> Fingerprint:
        attacks = {
            member: {
                **attack.describe(),  # of an ensemble, with what its members do not tell
                **part.describe(),
                'made on': 'another model' if name in self.others else 'the model',
            }
            for name, attack in {**self.attacks, **self.checks}.items()
            for member, part in members_of(name, attack).items()
        }
        settings = {
            'fp16': self.fp16,
            'craft_dtype': self.crafting.dtype,
            'pixel_range': self.pixel_range,
            'images': len(self.dataloader.dataset),
        }
        return fingerprint(self.runner.cfg, unwrapped(self.runner.model), settings, attacks)

    def _score_all(self, trials: Mapping[str, Trial], ledger: Ledger) -> None:
        """Score every image under every trial, as far as it is not in the ledger."""
        known = {record: ledger.images(record) for name in trials for record in self._records(name)}
        barrier()  # nobody writes before all have read, or they would not agree on what is left
        done = {name: set.intersection(*(known[record] for record in self._records(name))) for name in trials}
        left = [number for number in self.numbers if any(number not in numbers for numbers in done.values())]
        left = left[get_rank() :: get_world_size()]
        todo = {name: sum(number not in numbers for number in left) for name, numbers in done.items()}
        with progress_by_attack(todo, self.runner.logger) as advance:
            for index, (numbers, data_batch) in enumerate(read_batches(self.dataloader, left)):
                self.runner.call_hook('before_test_iter', batch_idx=index, data_batch=data_batch)
                batch = self._batch(data_batch)
                if index == 0 and any(trial.aims_at_logits for trial in trials.values()):
                    self.task.check(batch.model, batch.data['inputs'], batch.data['data_samples'])
                clean = list[Any]()
                for name, trial in trials.items():
                    rows = [row for row, number in enumerate(numbers) if number not in done[name]]
                    if rows:
                        part = batch.subset(rows)
                        predictions, scores = self._score(name, trial, part, [numbers[row] for row in rows])
                        ledger.write(scores)
                        advance(name, len(rows))
                        clean = predictions if name == CLEAN else clean
                self.runner.call_hook('after_test_iter', batch_idx=index, data_batch=data_batch, outputs=clean)
        barrier()  # all have written

    def _score(
        self, name: str, trial: Trial, batch: AttackedBatch, numbers: list[int]
    ) -> tuple[list[Any], dict[str, dict[int, ImageScore]]]:
        """Return the predictions of a batch, and its scores by record and image."""
        pixels, predictions, scores = trial.run(batch, numbers)
        found = {name: dict(zip(numbers, scores, strict=True))}
        if pixels is None or name in self.checks:
            return predictions, found
        if self.show_dir is not None:
            meta, folder = trial.evaluator.dataset_meta or {}, self.show_dir / file_name(name)
            save_panels(folder, numbers, batch.space, pixels, batch.predict(), predictions, meta)
        if self.export is not None:
            exported = self.export(name, batch, pixels, numbers, predictions)
            _, scores = trial.score(batch, exported.pixels, time.perf_counter())
            for score, change in zip(scores, exported.largest_changes, strict=True):
                score.more['largest_change'] = change
            found[f'{name}{EXPORTED}'] = dict(zip(numbers, scores, strict=True))
        return predictions, found

    def _records(self, trial: str) -> list[str]:
        """Return under which names the scores of a trial are kept."""
        exported = self.export is not None and trial != CLEAN and trial not in self.checks
        return [trial, f'{trial}{EXPORTED}'] if exported else [trial]
