"""Score the images of a test that have no scores yet, attack by attack."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, Self

from mmengine.dist import barrier, get_rank, get_world_size
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from samat_mm.evaluation.attack_run import CLEAN
from samat_mm.evaluation.image_score import ImageScore
from samat_mm.evaluation.images import read_batches
from samat_mm.evaluation.ledger import Ledger
from samat_mm.evaluation.progress import progress_by_attack


class Batch(Protocol):
    """A batch of a test set in front of a model."""

    def subset(self, rows: Sequence[int]) -> Self:
        """Return the batch of some of the samples."""

    def check(self) -> None:
        """Refuse a model that does not decide by the logits that attacks aim at."""


class Run(Protocol):
    """The clean samples or an attack on them, and how they are scored."""

    @property
    def evaluator(self) -> Evaluator:
        """The metrics of this run alone."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """The parameters that its scores depend on; none for the clean samples."""

    @property
    def records(self) -> list[str]:
        """Names of the stored scores."""

    @property
    def aims_at_logits(self) -> bool:
        """Whether there is an attack that follows the logits."""

    def run(self, batch: Any, numbers: Sequence[int]) -> tuple[list[Any], dict[str, dict[int, ImageScore]]]:
        """Return predictions, and scores by record and number."""


def score_images(
    runner: Runner,
    dataloader: DataLoader,
    numbers: Sequence[int],
    runs: Mapping[str, Run],
    ledger: Ledger,
    prepared: Callable[[Any], Batch],
    batch_size: int | None = None,
) -> None:
    """Score every image in every run, unless the ledger has it; this process takes its share of them.

    Args:
        runner: the runner, whose hooks are called for each batch.
        dataloader: the test set.
        numbers: numbers of the images in the test set.
        runs: the attacks by name, the clean images among them.
        ledger: where the scores are kept.
        prepared: function from a batch of the test set to one in front of the model.
        batch_size: number of samples whose scores are written together; by default that of the loader.

    Raises:
        ValueError: if the model does not decide by the logits that an attack aims at.
    """
    known = {record: ledger.images(record) for run in runs.values() for record in run.records}
    barrier()  # nobody writes before all have read, or they would not agree on the remaining images
    done = {name: set.intersection(*(known[record] for record in run.records)) for name, run in runs.items()}
    left = [number for number in numbers if any(number not in scored for scored in done.values())]
    left = left[get_rank() :: get_world_size()]
    todo = {name: sum(number not in scored for number in left) for name, scored in done.items()}
    with progress_by_attack(todo, runner.logger) as advance:
        for index, (current, data_batch) in enumerate(read_batches(dataloader, left, batch_size)):
            runner.call_hook('before_test_iter', batch_idx=index, data_batch=data_batch)
            batch = prepared(data_batch)
            if index == 0 and any(run.aims_at_logits for run in runs.values()):
                batch.check()
            clean = list[Any]()
            for name, run in runs.items():
                rows = [row for row, number in enumerate(current) if number not in done[name]]
                if rows:
                    predictions, scores = run.run(batch.subset(rows), [current[row] for row in rows])
                    ledger.write(scores)
                    advance(name, len(rows))
                    clean = predictions if name == CLEAN else clean
            runner.call_hook('after_test_iter', batch_idx=index, data_batch=data_batch, outputs=clean)
    barrier()  # all have written
