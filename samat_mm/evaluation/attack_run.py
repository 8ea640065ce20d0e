"""An attack on every image of a data set, and how its adversarial images are scored and kept."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from mmengine.evaluator import Evaluator
from torch import Tensor

from samat_mm.crafting.crafting import Crafting
from samat_mm.evaluation.attacked_batch import AttackedBatch
from samat_mm.evaluation.export import Export
from samat_mm.evaluation.fingerprint import identity
from samat_mm.evaluation.image_score import ImageScore, judge, metric_results
from samat_mm.evaluation.metric_copies import evaluator_for
from samat_mm.files.outputs import file_name
from samat_mm.perturbations.inputs import Attack
from samat_mm.perturbations.parametrized import SeededAttack
from samat_mm.pixels.passes import Passes
from samat_mm.visualization.panels import save_panels

CLEAN = 'clean'
AttackT = TypeVar('AttackT', bound=SeededAttack)
EXPORTED = '/exported'  # ends the name under which the scores of an attack's files are kept


@dataclass(frozen=True)
class AttackRun:
    """One attack on every image.

    Attributes:
        name: the name under which its scores are kept.
        attack: None leaves the images as they are.
        crafting: how the attack runs, on the model itself or on a surrogate.
        evaluator: the metrics of this run alone.
        settings: the parameters that its scores depend on.
        show_dir: folder for one picture per image, if any.
        export: writes the adversarial images to files, which are scored as well.
    """

    name: str
    attack: Attack | None
    crafting: Crafting
    evaluator: Evaluator
    settings: Mapping[str, Any] = field(default_factory=dict)
    show_dir: Path | None = None
    export: Export | None = None

    @property
    def aims_at_logits(self) -> bool:
        """Whether there is an attack, and on logits rather than on the model's own loss."""
        return self.attack is not None and self.attack.objective.output == 'logits'

    @property
    def records(self) -> list[str]:
        """Names of the stored scores: one for the adversarial images, and one for their exported files."""
        return [self.name, f'{self.name}{EXPORTED}'] if self.export is not None else [self.name]

    def run(self, batch: AttackedBatch, numbers: Sequence[int]) -> tuple[list[Any], dict[str, dict[int, ImageScore]]]:
        """Attack and score a batch; draw and export its adversarial images where that is asked for.

        Args:
            batch: the images.
            numbers: their numbers in the data set.

        Returns:
            The predictions, and the scores by record and number of the image.
        """
        start, passes = time.perf_counter(), Passes()
        pixels = None
        if self.attack is not None:
            batch.space.passes = passes
            pixels = self.crafting.attack(batch.space, self.attack, numbers)
        predictions, scores = self.score(batch, pixels, start, passes)
        if pixels is not None:
            self._measure(scores, pixels - batch.space.pixels)
        found = {self.name: dict(zip(numbers, scores, strict=True))}
        if pixels is not None and self.show_dir is not None:
            meta, folder = self.evaluator.dataset_meta or {}, self.show_dir / file_name(self.name)
            save_panels(folder, numbers, batch.space, pixels, batch.predict(), predictions, meta)
        if pixels is not None and self.export is not None:
            exported = self.export(self.name, batch, pixels, numbers, predictions)
            _, scores = self.score(batch, exported.pixels, time.perf_counter())
            for score, change in zip(scores, exported.largest_changes, strict=True):
                score.more['largest_change'] = change
            found[f'{self.name}{EXPORTED}'] = dict(zip(numbers, scores, strict=True))
        return predictions, found

    def _measure(self, scores: Sequence[ImageScore], changes: Tensor) -> None:
        """Note in each score the norm of the image's perturbation (N, C, H, W), if the attack has a norm."""
        if self.attack is not None and self.attack.norm is not None:
            for score, distance in zip(scores, self.attack.ball.norm(changes).tolist(), strict=True):
                score.more['distance'] = distance

    def score(
        self, batch: AttackedBatch, pixels: Tensor | None, start: float, passes: Passes | None = None
    ) -> tuple[list[Any], list[ImageScore]]:
        """Return predictions and scores for given pixels.

        Args:
            batch: the images.
            pixels: pixels in the place of the images' own; None for these.
            start: time at which the work on them began, for the seconds that it took.
            passes: the passes through the model that the attack took.
        """
        passes, count = passes or Passes(), len(batch)
        predictions = batch.predict(pixels)
        judged = [judge(batch.task, prediction) for prediction in predictions]
        seconds = (time.perf_counter() - start) / count
        scores = [
            ImageScore(
                results=metric_results(self.evaluator, batch.single(row), prediction),
                forwards=passes.forwards / count,
                backwards=passes.backwards / count,
                seconds=seconds,
                sizes=(tuple(batch.sizes[row]), _label_size(prediction)),
                **judged[row],
            )
            for row, prediction in enumerate(predictions)
        ]
        return predictions, scores


def build_runs(
    attacks: Mapping[str, Attack],
    crafting: Crafting,
    evaluator: Evaluator,
    *,
    surrogates: Mapping[str, Crafting] | None = None,
    show_dir: Path | None = None,
    export: Export | None = None,
) -> dict[str, AttackRun]:
    """Return the runs of attacks by name.

    An ensemble gives a run for each of its members, called 'sea-linf/jensen-shannon'.

    Args:
        attacks: the attacks, by name.
        crafting: crafting on the model.
        evaluator: the data set's metrics, copied for each run.
        surrogates: crafting on another model, by the name of its attack.
        show_dir: folder for one picture per image and attack.
        export: writes the adversarial images to files.
    """
    runs: dict[str, AttackRun] = {}
    for name, attack in attacks.items():
        on_surrogate = (surrogates or {}).get(name)
        made_on = 'the model' if on_surrogate is None else identity(on_surrogate.model)
        for member, part in members_of(name, attack).items():
            settings = {**attack.describe(), **part.describe(), 'made on': made_on}  # of an ensemble, all of both
            own = evaluator_for(member, evaluator)
            runs[member] = AttackRun(member, part, on_surrogate or crafting, own, settings, show_dir, export)
    return runs


def members_of(name: str, attack: AttackT) -> dict[str, AttackT]:
    """Return the attacks that an ensemble consists of, by name; any other attack is its only member."""
    members: Sequence[Any] = getattr(attack, 'members', ())
    return {f'{name}/{member.objective.name}': member for member in members} or {name: attack}


def _label_size(prediction: Any) -> tuple[int, ...]:
    return tuple(prediction.gt_sem_seg.data.shape[-2:]) if 'gt_sem_seg' in prediction else ()
