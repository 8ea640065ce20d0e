"""The base of the loops that test under attacks: their samples, their attacks, and the scores they keep on disk."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from mmengine.dist import get_rank
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner, TestLoop
from torch.utils.data import DataLoader

from samat_mm.engine.loops.evaluation_folder import evaluation_folder
from samat_mm.engine.loops.scoring import Batch, Run, score_images
from samat_mm.evaluation.attack_result import AttackResult, attack_results
from samat_mm.evaluation.evaluation_result import EvaluationResult
from samat_mm.evaluation.ledger import Ledger
from samat_mm.evaluation.subsets import chosen_images
from samat_mm.model_state import refuse_augmented, unwrapped
from samat_mm.presets import build_attacks, listed


@dataclass(frozen=True)
class Scored:
    """What a test has scored: the results by attack, where the scores are, and whether some had been kept before."""

    by_attack: dict[str, AttackResult]
    folder: Path
    resumed: bool


class EvaluationLoop(TestLoop):
    """Tests a model clean and under attacks, sample by sample.

    What the data set's metrics keep of a sample goes to disk at once, in ``work_dir/attack_results``, which all
    processes must see. A test that was killed continues with the remaining samples, on as many processes as there are
    now, and ends with the same numbers. Samples are dealt out by number, so no process sees one twice, and there may be
    more processes than samples.

    Args:
        runner: the runner of the test.
        dataloader: the test set; its sampler plays no part.
        evaluator: the metrics.
        fp16: predict in half precision, as in :class:`mmengine.runner.TestLoop`.
        attacks: presets ('pgd-linf') or configs, which may carry a ``name``; or attacks by name.
        max_samples: number of samples to test, spread evenly over the data set, see :func:`spread_order`.
        numbers: numbers in the data set of the samples to test, in the place of ``max_samples``.
        resume: if True, a missing earlier evaluation is an error.

    Attributes:
        unit: what a sample is, 'image' for instance.
        batch_size: number of samples that are attacked at once; None for that of the loader.
        result: the result of the last test, None before.

    Raises:
        ValueError: if an argument does not fit.
    """

    unit: ClassVar[str]
    batch_size: ClassVar[int | None] = None

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        evaluator: Evaluator | dict | list,
        fp16: bool = False,
        *,
        attacks: Sequence[str | dict] | Mapping[str, Any] = (),
        max_samples: int | None = None,
        numbers: Sequence[int] | None = None,
        resume: bool = False,
    ) -> None:
        super().__init__(runner, dataloader, evaluator, fp16)
        refuse_augmented(unwrapped(runner.model))
        self.attacks: dict[str, Any] = dict(attacks) if isinstance(attacks, Mapping) else build_attacks(listed(attacks))
        chosen = chosen_images(len(self.dataloader.dataset), max_samples)
        self.numbers = chosen if numbers is None else list(numbers)
        self.resume = resume
        self.result: EvaluationResult | None = None

    def stated(self) -> dict[str, Any]:
        """Return the settings that a report names: by default none."""
        return {}

    def scored(
        self,
        runs: Mapping[str, Run],
        attacks: Mapping[str, Any],
        settings: Mapping[str, Any],
        prepared: Callable[[Any], Batch],
    ) -> Scored:
        """Score the samples that have no scores yet, and return the results of all.

        Args:
            runs: what is scored, by name, the clean samples first.
            attacks: the attacks by name, ensembles among them.
            settings: the settings, besides the attacks, that the scores depend on.
            prepared: function from a batch of the test set to one in front of the model.

        Raises:
            ValueError: if the evaluation cannot be resumed, or a sample cannot be scored.
            OSError: if something cannot be read or written.
        """
        described = {name: run.settings for name, run in runs.items() if run.settings}
        settings = {'fp16': self.fp16, **settings, 'images': len(self.dataloader.dataset)}
        with evaluation_folder(self.runner, settings, described, self.resume) as (folder, resumed):
            ledger = Ledger(folder, get_rank())
            score_images(self.runner, self.dataloader, self.numbers, runs, ledger, prepared, self.batch_size)
            evaluators = {record: run.evaluator for run in runs.values() for record in run.records}
            by_attack = attack_results(evaluators, attacks, partial(ledger.read_images, self.numbers))
        return Scored(by_attack, folder, resumed)
