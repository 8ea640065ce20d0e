"""What an evaluation tries on every image, and how an attack's images are scored."""

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.evaluator import Evaluator
from torch import Tensor

from samat_mm.evaluation.attacked_batch import AttackedBatch
from samat_mm.evaluation.image_score import ImageScore, judge, metric_results
from samat_mm.files import file_name
from samat_mm.models.crafting import Crafting
from samat_mm.models.pixel_space import Passes
from samat_mm.perturbations.inputs import Attack
from samat_mm.perturbations.inputs.objectives import IGNORED_LABEL

CLEAN = 'clean'
EXPORTED = '/exported'  # ends the name under which the scores of an attack's files are kept


@dataclass(frozen=True)
class Trial:
    """One attack on every image.

    Attributes:
        attack: None leaves the images as they are.
        crafting: how it runs, on the model itself or on another.
        evaluator: metrics that are this trial's alone.
    """

    attack: Attack | None
    crafting: Crafting
    evaluator: Evaluator

    def images(self, batch: AttackedBatch, numbers: Sequence[int]) -> Tensor | None:
        """Return adversarial pixels, or None for the images as they are."""
        return None if self.attack is None else self.crafting.attack(batch.space, self.attack, numbers)

    def run(self, batch: AttackedBatch, numbers: Sequence[int]) -> tuple[Tensor | None, list[Any], list[ImageScore]]:
        """Return pixels, predictions and scores of a batch.

        Args:
            batch: the images.
            numbers: their numbers in the data set.
        """
        start, batch.space.passes = time.perf_counter(), Passes()
        pixels = self.images(batch, numbers)
        return pixels, *self.score(batch, pixels, start)

    def score(
        self, batch: AttackedBatch, pixels: Tensor | None, start: float | None = None
    ) -> tuple[list[Any], list[ImageScore]]:
        """Return predictions and scores for given pixels."""
        start = time.perf_counter() if start is None else start
        passes, count = batch.space.passes, len(batch)
        predictions = batch.predict(pixels)
        ignored = getattr(getattr(batch.model, 'decode_head', None), 'ignore_index', IGNORED_LABEL)
        judged = [judge(prediction, ignored) for prediction in predictions]
        seconds = (time.perf_counter() - start) / count
        scores = [
            ImageScore(
                results=metric_results(self.evaluator, batch.single(row), prediction),
                forwards=passes.forwards / count,
                backwards=passes.backwards / count,
                seconds=seconds,
                sizes=(tuple(batch.space.sizes[row]), _label_size(prediction)),
                **judged[row],
            )
            for row, prediction in enumerate(predictions)
        ]
        return predictions, scores


def build_trials(
    attacks: Mapping[str, Attack],
    crafting: Crafting,
    evaluator: Evaluator,
    others: Mapping[str, Crafting] | None = None,
) -> dict[str, Trial]:
    """Return the trials by name: the clean images, and each attack.

    An ensemble gives a trial for each of its members, called 'sea-linf/jensen-shannon'.

    Args:
        attacks: by name.
        crafting: on the model.
        evaluator: with the data set's metrics, copied for each trial.
        others: the crafting of attacks that are made on another model, by name.
    """
    made = {CLEAN: Trial(None, crafting, evaluator_of(CLEAN, evaluator))}
    for name, attack in attacks.items():
        run = (others or {}).get(name, crafting)
        for member, part in members_of(name, attack).items():
            made[member] = Trial(part, run, evaluator_of(member, evaluator))
    return made


def members_of(name: str, attack: Attack) -> dict[str, Attack]:
    """Return the attacks that an ensemble consists of, by name; an attack of its own is its only member."""
    members: Sequence[Attack] = getattr(attack, 'members', ())
    return {f'{name}/{member.objective.name}': member for member in members} or {name: attack}


def evaluator_of(attack: str, evaluator: Evaluator) -> Evaluator:
    """Return an evaluator like the clean one, whose metrics write beside its files rather than over them."""
    copied = copy.deepcopy(evaluator)
    for metric in copied.metrics:
        for attribute in ('output_dir', 'outfile_prefix') if attack != CLEAN else ():
            if getattr(metric, attribute, None):
                setattr(metric, attribute, f'{getattr(metric, attribute)}-{file_name(attack)}')
        if attack != CLEAN and getattr(metric, 'output_dir', None):
            Path(metric.output_dir).mkdir(parents=True, exist_ok=True)
    return copied


def _label_size(prediction: Any) -> tuple[int, ...]:
    return tuple(prediction.gt_sem_seg.data.shape[-2:]) if 'gt_sem_seg' in prediction else ()
