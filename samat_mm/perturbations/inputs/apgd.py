"""APGD: steps that halve where they no longer pay."""

from dataclasses import dataclass
from typing import Any

from samat_mm.perturbations.inputs.adaptive import AdaptiveSteps
from samat_mm.perturbations.inputs.ascent import Plan, ProjectedAscent
from samat_mm.perturbations.inputs.objectives import Objective
from samat_mm.perturbations.inputs.scoring import Rank, errors_first
from samat_mm.perturbations.norms.base import StepRule
from samat_mm.perturbations.norms.region import Region
from samat_mm.perturbations.units import Radius


@dataclass(frozen=True, repr=False)
class APGD(ProjectedAscent):
    """Projected ascent with momentum, whose step size is halved, image by image, where progress stalls.

    The first step is ``2 eps`` long. At each checkpoint, an image whose loss rose in at most 3/4 of the steps since the
    last one, or whose best loss did not rise at all although its step was not halved then, goes back to its best
    iterate and on with half the step. The loss followed is the objective's, or the plain cross-entropy for the
    pixel-wise ones. Of all iterates, the one with the most wrong labels is returned, the objective deciding between
    equals.

    Checkpoints, ties and the first check are those of the authors' code. There, the first step counts as a rise where
    the loss after it is above 0, whatever it was before: always with cross-entropy, and with the ratio of logits
    ('dlr') where the image is wrong by then.

    In l1 the steps are sparse, and a run has three stages, with radii of 3, 2 and 1 times ``eps`` and 3, 3 and 4
    tenths of the steps (l1-APGD with several radii: Croce and Hein, Mind the box, ICML 2021). As in the authors' code,
    a stage begins with steps of two thirds of the coordinates that its start has changed, but of at most a fifth of
    all. The limit is ours: their random start is Gaussian noise projected onto the ball, which changes few coordinates;
    ours is uniform in the ball and changes all.

    Source: Croce and Hein, Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
    attacks, ICML 2020, algorithm 1.

    Args:
        norm: 'linf', 'l2' or 'l1'.
        eps: radius in [0, 1] pixel units; a number or a string such as '8/255'.
        steps: number of gradient steps; the checkpoints scale with it.
        random_start: start anywhere in the ball rather than at the image.
        restarts: number of random starts; the best result counts.
        objective: 'cross-entropy', 'model-loss', 'dlr' for classifiers, or for segmentors 'segpgd', 'cospgd',
            'masked-cross-entropy', 'balanced-masked-cross-entropy' or 'jensen-shannon'.
        goal: 'loss', or 'error' to leave out images of a classifier once it errs on them.
        seed: seed of the random starts.
    """

    norm: str = 'linf'
    eps: Radius = '8/255'
    steps: int = 100
    random_start: bool = True
    restarts: int = 1
    objective: Any = 'cross-entropy'
    goal: str = 'loss'
    seed: int = 0

    @property
    def plan(self) -> Plan:
        """The stages of a run, which depend on the norm."""
        return self.ball.stages

    def step_rule(self, region: Region, steps: int) -> StepRule:
        """Return steps that adapt to the loss."""
        return (self.ball.adaptive_steps or AdaptiveSteps)(region, steps)

    def rank_of(self, objective: Objective) -> Rank:
        """Return a rank by the share of wrong labels first: a higher loss need not change a prediction."""
        return errors_first(objective)
