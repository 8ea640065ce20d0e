"""What an evaluation tries on every image, and how an attack's images are scored."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.evaluator import Evaluator
from torch import Tensor

from samat_mm.crafting.crafting import Crafting
from samat_mm.evaluation.attacked_batch import AttackedBatch
from samat_mm.evaluation.image_score import ImageScore, judge, metric_results
from samat_mm.evaluation.metric_copies import copied_evaluator, evaluator_for
from samat_mm.perturbations.inputs import Attack
from samat_mm.pixels.passes import Passes

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

    @property
    def aims_at_logits(self) -> bool:
        """Whether there is an attack, and on logits rather than on the model's own loss."""
        return self.attack is not None and self.attack.objective.output == 'logits'

    def run(self, batch: AttackedBatch, numbers: Sequence[int]) -> tuple[Tensor | None, list[Any], list[ImageScore]]:
        """Return pixels, predictions and scores of a batch.

        Args:
            batch: the images.
            numbers: their numbers in the data set.
        """
        start = time.perf_counter()
        if self.attack is None:
            return None, *self.score(batch, None, start)
        passes = batch.space.passes = Passes()
        pixels = self.crafting.attack(batch.space, self.attack, numbers)
        return pixels, *self.score(batch, pixels, start, passes)

    def score(
        self, batch: AttackedBatch, pixels: Tensor | None, start: float, passes: Passes | None = None
    ) -> tuple[list[Any], list[ImageScore]]:
        """Return predictions and scores for given pixels.

        Args:
            batch: the images.
            pixels: of the images, None for their own.
            start: when the work on them began, for the time that it took.
            passes: what it asked of the model.
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
    made = {CLEAN: Trial(None, crafting, copied_evaluator(evaluator))}
    for name, attack in attacks.items():
        run = (others or {}).get(name, crafting)
        for member, part in members_of(name, attack).items():
            made[member] = Trial(part, run, evaluator_for(member, evaluator))
    return made


def members_of(name: str, attack: Attack) -> dict[str, Attack]:
    """Return the attacks that an ensemble consists of, by name; an attack of its own is its only member."""
    members: Sequence[Attack] = getattr(attack, 'members', ())
    return {f'{name}/{member.objective.name}': member for member in members} or {name: attack}


def _label_size(prediction: Any) -> tuple[int, ...]:
    return tuple(prediction.gt_sem_seg.data.shape[-2:]) if 'gt_sem_seg' in prediction else ()
