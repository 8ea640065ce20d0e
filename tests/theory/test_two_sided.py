"""SAM that looks on both sides, on losses whose maxima are known."""

import pytest
import torch
from torch import nn

from samat_mm.errors import InputError
from samat_mm.perturbations.weights import SAM, perturbed_step
from samat_mm.theory import TwoSidedSAM

CURVATURES = torch.tensor([3.0, 1.0, 0.5], dtype=torch.float64)


class Loss(nn.Module):
    """A loss of a vector that counts its forwards."""

    def __init__(self, start, of):
        super().__init__()
        self.vector = nn.Parameter(torch.tensor(start, dtype=torch.float64))
        self.of, self.seen = of, []

    def forward(self):
        self.seen.append(self.vector.detach().clone())
        return self.of(self.vector)

    def gradient(self, method):
        """The gradient that one step with the method descends along."""
        perturbed_step(method.start(), self, self, torch.optim.SGD(self.parameters(), lr=0.0))
        return self.vector.grad


def lopsided(vector):
    """Steep to the left of 0, shallow to the right."""
    return torch.where(vector < 0, 4 * vector**2, vector**2).sum()


@pytest.mark.parametrize('steps', [1, 4])
def test_it_takes_the_higher_end_where_sam_takes_the_lower_one(steps):
    """At 0.1 the gradient points to 1.1, where the loss is 1.21; at -0.9 it is 3.24."""
    loss = Loss([0.1], lopsided)
    assert loss.gradient(SAM(1.0, steps=steps)).tolist() == pytest.approx([2 * 1.1])
    assert loss.gradient(TwoSidedSAM(1.0, loss, steps)).tolist() == pytest.approx([8 * -0.9])
    loss = Loss([0.7], lopsided)  # 2.89 at 1.7, 0.36 at -0.3
    assert loss.gradient(TwoSidedSAM(1.0, loss, steps)).tolist() == pytest.approx([2 * 1.7])


def test_it_is_sam_where_the_loss_has_one_maximum():
    start, slope = [0.3, -2.0, 1.0], torch.tensor([1.0, 2.0, -2.0], dtype=torch.float64)
    loss = Loss(start, lambda vector: torch.exp(slope @ vector))
    assert torch.allclose(loss.gradient(TwoSidedSAM(0.6, loss, 2)), loss.gradient(SAM(0.6)), rtol=1e-12)


def test_several_ascents_find_the_largest_curvature():
    """Of ``h v^2`` the worst perturbation at 0 is along the largest h, to which ascents converge from any start."""
    loss = Loss([1e-3, 2e-3, -1e-3], lambda vector: (CURVATURES * vector**2).sum())
    loss.gradient(TwoSidedSAM(0.5, loss, 30))
    offset = loss.seen[-1] - loss.vector.detach()
    assert offset.abs().tolist() == pytest.approx([0.5, 0, 0], abs=1e-2)


def test_the_weights_come_back_to_the_bit_and_the_passes_are_as_promised():
    loss = Loss([0.1, 0.3], lopsided)
    before = loss.vector.detach().clone()
    loss.gradient(TwoSidedSAM(1.0, loss, 3))
    assert loss.vector.equal(before)
    assert len(loss.seen) == 2 * 3 + 4
    on_ball = [float((seen - before).norm()) for seen in loss.seen[1:]]
    assert on_ball == pytest.approx([1.0] * len(on_ball))


@pytest.mark.parametrize(
    ('rho', 'steps', 'sentence'), [(-1.0, 1, 'rho must be a finite'), (1.0, 0, 'steps must be a whole number')]
)
def test_what_it_refuses(rho, steps, sentence):
    with pytest.raises(InputError, match=sentence):
        TwoSidedSAM(rho, lambda: torch.zeros(()), steps)
