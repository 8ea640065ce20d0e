"""A test under attacks that can be killed at any moment and goes on where it stopped."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import barrier, broadcast_object_list, get_rank, get_world_size, is_main_process
from mmengine.evaluator import Evaluator
from mmengine.registry import LOOPS
from mmengine.runner import Runner, TestLoop
from torch.utils.data import DataLoader

from samat_mm.evaluation.attacked_batch import AttackedBatch
from samat_mm.evaluation.export import Export
from samat_mm.evaluation.folders import Fingerprint, fingerprint, finish, open_folder
from samat_mm.evaluation.image_score import ImageScore, gather
from samat_mm.evaluation.ledger import Ledger
from samat_mm.evaluation.outcome import Outcome, ensemble, single
from samat_mm.evaluation.progress import progress_by_attack
from samat_mm.evaluation.trials import CLEAN, Trial, build_trials, members_of
from samat_mm.models.crafting import Crafting
from samat_mm.models.replay import unwrapped
from samat_mm.perturbations.inputs import Attack
from samat_mm.presets import build_attacks
from samat_mm.visualization.panels import save_panels

FOLDER = 'attack_results'


@LOOPS.register_module()
class AttackTestLoop(TestLoop):
    """Tests a model clean and under attacks, image by image.

    Every image is scored by the model's own ``predict``, and what the data set's metrics keep of it goes to disk at
    once, in ``work_dir/attack_results``. A test that was killed goes on with the images that are left, on as many
    processes as there are now, and ends with the same numbers. Images are dealt out by number, so no process sees one
    twice, and there may be more processes than images.

    Args:
        runner: of the test.
        dataloader: the test set; its sampler plays no part.
        evaluator: the metrics.
        fp16: predict in half precision, as in :class:`mmengine.runner.TestLoop`.
        attacks: presets ('pgd-linf') or configs, which may carry a ``name``; or attacks by name.
        craft_dtype: precision in which attacks run, 'float32' or 'bfloat16'; scores are always the model's own.
        max_samples: test the first so many images only.
        resume: whether it is an error if there is no evaluation to go on with.
        show_dir: folder for one picture per image and attack.
        export_dir: folder for the adversarial images as PNG files, which are read and scored again.

    Attributes:
        outcomes: after the test, what was found by attack, 'clean' among them, and the members of ensembles.
        folder: where the results of the images are.
        resumed: whether some of them were there before.

    Raises:
        ValueError: if an argument does not fit.
    """

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
        max_samples: int | None = None,
        resume: bool = False,
        show_dir: str | None = None,
        export_dir: str | None = None,
    ) -> None:
        super().__init__(runner, dataloader, evaluator, fp16)
        self.attacks = dict(attacks) if isinstance(attacks, Mapping) else build_attacks(list(attacks))
        self.crafting = Crafting(unwrapped(runner.model), craft_dtype)
        self.others: dict[str, Crafting] = {}
        if max_samples is not None and max_samples < 1:
            raise ValueError(f'max_samples must be at least 1; got {max_samples}.')
        whole = len(self.dataloader.dataset)
        self.samples = whole if max_samples is None else min(max_samples, whole)
        self.resume = resume
        self.show_dir = Path(show_dir) if show_dir else None
        self.export = Export(Path(export_dir)) if export_dir else None

    def run(self) -> dict[str, Any]:
        """Test, and return the metrics; those under attack have its name as a prefix: 'pgd-linf/mIoU'."""
        self.runner.call_hook('before_test')
        self.runner.call_hook('before_test_epoch')
        self.runner.model.eval()
        trials = build_trials(self.attacks, self.crafting, self.evaluator, self.others)
        self.folder = self._open(trials)
        scores = self._score_all(trials)
        self.outcomes = self._outcomes(trials, scores)
        if is_main_process():
            finish(self.folder)
        metrics = {
            key if name == CLEAN else f'{name}/{key}': value
            for name, outcome in self.outcomes.items()
            if name == CLEAN or name in self.attacks
            for key, value in outcome.metrics.items()
        }
        self.runner.call_hook('after_test_epoch', metrics=metrics)
        self.runner.call_hook('after_test')
        return metrics

    def first_samples(self) -> list[Any]:
        """Return the data sample of the first image, which shows the task."""
        return [self.dataloader.dataset[0]['data_samples']]

    def _open(self, trials: Mapping[str, Trial]) -> Path:
        """Return the folder of this evaluation, the same in every process."""
        answer: list[Any] = [None]
        if is_main_process():
            try:
                parent = Path(self.runner.work_dir) / FOLDER
                answer[0] = open_folder(parent, self._fingerprint(trials), self.runner.timestamp, self.resume)
            except ValueError as error:
                answer[0] = error
        broadcast_object_list(answer)
        if isinstance(answer[0], ValueError):
            raise answer[0]
        folder, self.resumed = answer[0]
        if self.resumed:
            self.runner.logger.info(f'The evaluation in {folder} goes on.')
        return folder

    def _fingerprint(self, trials: Mapping[str, Trial]) -> Fingerprint:
        attacks = {
            name: {**trial.attack.describe(), 'made on': 'another model' if name in self.others else 'the model'}
            for name, trial in trials.items()
            if trial.attack is not None
        }
        settings = {'fp16': self.fp16, 'craft_dtype': self.crafting.dtype, 'images': len(self.dataloader.dataset)}
        return fingerprint(self.runner.cfg, unwrapped(self.runner.model), settings, attacks)

    def _score_all(self, trials: Mapping[str, Trial]) -> dict[str, dict[int, ImageScore]]:
        """Score every image under every trial; returns the scores by trial and image, the same in every process."""
        ledger = Ledger(self.folder, get_rank())
        barrier()
        known = ledger.read()
        barrier()  # nobody writes before all have read, or they would not agree on what is left
        wanted = [name for trial in trials for name in self._records(trial)]
        mine: dict[str, dict[int, ImageScore]] = {name: {} for name in wanted}
        left = [n for n in range(self.samples) if any(n not in known.get(name, {}) for name in wanted)]
        left = left[get_rank() :: get_world_size()]
        size = self.dataloader.batch_size or getattr(self.dataloader.batch_sampler, 'batch_size', 1)
        batches = [left[start : start + size] for start in range(0, len(left), size)]
        model = unwrapped(self.runner.model)
        todo = {name: sum(number not in known.get(name, {}) for number in left) for name in trials}
        with progress_by_attack(todo, self.runner.logger) as advance:
            for index, (numbers, data_batch) in enumerate(zip(batches, self._loader(batches), strict=True)):
                self.runner.call_hook('before_test_iter', batch_idx=index, data_batch=data_batch)
                batch, clean = AttackedBatch(model, data_batch, self.fp16), list[Any]()
                for name, trial in trials.items():
                    names = self._records(name)
                    rows = [row for row, n in enumerate(numbers) if any(n not in known.get(key, {}) for key in names)]
                    if rows:
                        part, part_numbers = batch.subset(rows), [numbers[row] for row in rows]
                        found, clean = self._score(name, trial, part, part_numbers, clean)
                        for key, scores in found.items():
                            ledger.write(key, scores)
                            mine[key].update(scores)
                        advance(name, len(rows))
                self.runner.call_hook('after_test_iter', batch_idx=index, data_batch=data_batch, outputs=clean)
        ledger.close()
        gathered = {name: {**known.get(name, {}), **gather(scores)} for name, scores in mine.items()}
        return {name: {n: scores[n] for n in range(self.samples)} for name, scores in gathered.items()}

    def _score(
        self, name: str, trial: Trial, batch: AttackedBatch, numbers: list[int], clean: list[Any]
    ) -> tuple[dict[str, dict[int, ImageScore]], list[Any]]:
        """Return the scores of a batch by record, and the clean predictions as far as they are known."""
        pixels, predictions, scores = trial.run(batch, numbers)
        found = {name: dict(zip(numbers, scores, strict=True))}
        if pixels is None:
            return found, predictions
        if self.show_dir is not None:
            before = clean if len(clean) == len(numbers) else batch.predict()
            save_panels(
                self.show_dir / name, numbers, batch.space, pixels, before, predictions, trial.evaluator.dataset_meta
            )
        if self.export is not None:
            exported = self.export(name, batch, pixels, numbers, predictions)
            scored = trial.score(batch, exported.pixels)[1]
            for score, change in zip(scored, exported.largest_changes, strict=True):
                score.more['largest_change'] = change
            found[f'{name}/exported'] = dict(zip(numbers, scored, strict=True))
        return found, clean

    def _records(self, trial: str) -> list[str]:
        """Return under which names the scores of a trial are kept."""
        return [trial, f'{trial}/exported'] if self.export is not None and trial != CLEAN else [trial]

    def _outcomes(
        self, trials: Mapping[str, Trial], scores: Mapping[str, Mapping[int, ImageScore]]
    ) -> dict[str, Outcome]:
        outcomes: dict[str, Outcome] = {}
        for name, by_image in scores.items():
            trial = trials[name.removesuffix('/exported')]
            self.runner.logger.info(f'Metrics: {name}')
            outcomes[name] = single(trial.evaluator, by_image)
        for name, attack in self.attacks.items():
            members = members_of(name, attack)
            if name not in members:
                self.runner.logger.info(f'Metrics: {name}')
                evaluator = trials[next(iter(members))].evaluator
                outcomes[name] = ensemble(evaluator, [outcomes[member] for member in members], attack.seed)
        return outcomes

    def _loader(self, batches: list[list[int]]) -> DataLoader:
        """Return a loader of the images that are left."""
        loader = self.dataloader
        return DataLoader(
            loader.dataset,
            batch_sampler=batches,
            num_workers=loader.num_workers,
            collate_fn=loader.collate_fn,
            worker_init_fn=loader.worker_init_fn,
            pin_memory=loader.pin_memory,
            multiprocessing_context=loader.multiprocessing_context,
        )
