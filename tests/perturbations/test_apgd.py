"""APGD against torchattacks and against the algorithm in plain loops."""

import pytest
import torch
import torchattacks
from helpers import CLASSES, TinyClassifier, TinySegmentor, images, labels
from plain_apgd import plain_apgd
from torch.nn import functional as F

from samat_mm.perturbations.inputs import APGD, Problem
from samat_mm.perturbations.inputs.adaptive import AdaptiveSteps, checkpoints
from samat_mm.perturbations.inputs.objectives import objective_named
from samat_mm.perturbations.norms import norm_named
from samat_mm.perturbations.norms.region import Region

EPS = {'linf': 8 / 255, 'l2': 0.5}
each_norm = pytest.mark.parametrize('norm', EPS)


class Recording(torch.nn.Module):
    """A model that remembers what it was asked."""

    def __init__(self, model):
        super().__init__()
        self.model, self.asked = model, []

    def forward(self, pixels):
        self.asked.append(pixels.detach().clone())
        return self.model(pixels)


def ours(norm, steps, objective, model, inputs, target, start):
    attack, predict = APGD(norm, EPS[norm], steps, objective=objective), Recording(model)
    found = attack.search(Problem(predict, inputs, target), start=lambda *_: start.clone())
    return predict.asked, found.images


@pytest.mark.parametrize(
    ('steps', 'expected'),
    [
        (100, [22, 41, 57, 70, 80, 87, 93, 99]),  # the paper's: .22, .41, .57, .70, .80, .87, .93, .99
        (300, [66, 123, 171, 210, 240, 261, 279, 297]),
        (10, [2, 3, 4, 5, 6, 7, 8, 9]),
        (1, []),
    ],
)
def test_checkpoints(steps, expected):
    assert sorted(checkpoints(steps)) == expected


@pytest.fixture
def double_precision():
    """torchattacks keeps the losses that it compares in the default type."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@each_norm
@pytest.mark.parametrize(('loss', 'objective'), [('ce', 'cross-entropy'), ('dlr', 'dlr')])
@pytest.mark.parametrize('steps', [7, 100])
@pytest.mark.parametrize('seed', range(3))
def test_the_iterates_are_those_of_torchattacks(norm, loss, objective, steps, seed, double_precision):
    """Which are the authors'. The ratio of logits is negative for right images, above which the first check puts 0."""
    inputs, model = images(4, 3, 9, 7, seed=seed), TinyClassifier(seed)
    target = labels(4, classes=3, seed=seed) if loss == 'ce' else model(inputs).argmax(1)
    theirs = Recording(model).eval()
    attack = torchattacks.APGD(theirs, norm=norm.capitalize(), eps=EPS[norm], steps=steps, loss=loss)
    attack.attack_single_run(inputs, target)
    asked, _ = ours(norm, steps, objective, model, inputs, target, theirs.asked[0])
    assert len(asked) == len(theirs.asked) == steps + 1
    for one, other in zip(asked, theirs.asked, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_the_ratio_of_logits_is_that_of_torchattacks():
    torch.manual_seed(0)
    logits, target = torch.randn(64, 5), labels(64, classes=5)
    theirs = torchattacks.APGD(TinyClassifier()).dlr_loss(logits, target)
    found = objective_named('dlr')(logits, target, 0, 1)
    torch.testing.assert_close(found, theirs)
    assert torch.equal(found > 0, logits.argmax(1) != target)
    torch.testing.assert_close(objective_named('dlr')(7 * logits + 3, target, 0, 1), found)


@each_norm
def test_the_result_has_a_wrong_prediction_wherever_torchattacks_finds_one(norm):
    inputs, model = images(32, 3, 9, 7), TinyClassifier()
    with torch.no_grad():  # centred, so that the images are of all classes and near their borders
        model.linear.bias -= model(inputs).mean(0) / 5
    target, eps = model(inputs).argmax(1), EPS[norm] / 8
    theirs = torchattacks.APGD(model, norm=norm.capitalize(), eps=eps, steps=20)(inputs, target)
    found = APGD(norm, eps, steps=20)(model, inputs, target)
    broken = [int((model(pixels).argmax(1) != target).sum()) for pixels in (theirs, found)]
    assert 0 < broken[0] <= broken[1] < 32


@pytest.mark.parametrize(
    ('offset', 'halved'),
    [
        (0, True),  # 16 of 22: after the first step the loss is still below 0
        (100, False),  # 17 of 22, which is more than three quarters
    ],
)
def test_the_first_step_is_a_rise_where_the_loss_after_it_is_above_0(offset, halved):
    """Seventeen rises and five falls, up to the first check of 100 steps."""
    losses = offset + torch.tensor([-30.0, *range(-29, -12), *range(-14, -19, -1)])[:, None]
    region = Region(torch.full((1, 3, 4, 4), 0.5), norm_named('linf'), 0.1)
    steps, pixels = AdaptiveSteps(region, 100), region.inputs
    for loss in losses:
        pixels = steps(pixels, torch.ones_like(pixels), loss)
    assert steps.size.tolist() == pytest.approx([0.1 if halved else 0.2])


def jensen_shannon(logits, target):
    p, one_hot = logits.softmax(1), F.one_hot(target, CLASSES).movedim(-1, 1).to(logits)
    m = (p + one_hot) / 2
    divergences = (F.kl_div(m.log(), p, reduction='none') + F.kl_div(m.log(), one_hot, reduction='none')).sum(1) / 2
    return divergences.mean()


def masked(logits, target):
    return (F.cross_entropy(logits, target, reduction='none') * (logits.argmax(1) == target)).mean()


def ratio(logits, target):
    first, second, third = logits.sort(1, descending=True).values[0, :3]
    own = logits[0, target[0]]
    return ((second if first == own else first) - own) / (first - third)


@each_norm
@pytest.mark.parametrize('seed', range(3))
def test_the_iterates_on_logit_ratios_are_those_of_the_algorithm(norm, seed):
    inputs, model = images(1, 3, 6, 5, seed=seed).double(), TinyClassifier(seed).double()
    target = model(inputs).argmax(1)
    asked, _ = ours(norm, 60, 'dlr', model, inputs, target, inputs)

    def plain(pixels):
        return ratio(model(pixels), target)

    for one, other in zip(asked, plain_apgd(plain, plain, inputs, inputs, EPS[norm], 60, norm), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


@each_norm
@pytest.mark.parametrize(
    ('objective', 'plain'),
    [('jensen-shannon', jensen_shannon), ('masked-cross-entropy', masked)],
)
def test_the_iterates_on_label_maps_are_those_of_the_algorithm(norm, objective, plain):
    """Images whose steps are halved at different checkpoints; progress is judged by the plain cross-entropy."""
    inputs, start = images(3, 3, 6, 5).double(), images(3, 3, 6, 5, seed=1).double()
    model = TinySegmentor().double()
    target = model(inputs).argmax(1)
    start = (inputs + 0.1 * EPS[norm] * (start - 0.5)).clamp(0, 1)
    asked, _ = ours(norm, 40, objective, model, inputs, target, start)
    for row in range(len(inputs)):
        one, label = slice(row, row + 1), target[row : row + 1]
        expected = plain_apgd(
            lambda pixels, label=label: plain(model(pixels), label),
            lambda pixels, label=label: F.cross_entropy(model(pixels), label),
            *(inputs[one], start[one], EPS[norm], 40, norm),
        )
        assert len(asked) == len(expected)
        for ours_, theirs in zip(asked, expected, strict=True):
            torch.testing.assert_close(ours_[one], theirs, rtol=0, atol=1e-9)


def test_of_equally_wrong_iterates_the_loss_decides_and_of_others_the_errors():
    """Class 1 has the loss's maximum where class 2 wins nothing: a higher loss need not be an error."""
    attack = APGD(steps=1)
    logits = torch.tensor([[2.0, 1.9, -9.0], [2.0, 2.1, -9.0], [0.1, 0.0, 0.0]])
    target = torch.zeros(3, dtype=torch.long)
    rank = attack.rank_of(attack.objective)(attack.objective(logits, target, 0, 1), logits, target)
    assert rank[:, 0].tolist() == [0, 1, 0]
    assert float(rank[2, 1]) > float(rank[1, 1])


@each_norm
def test_the_model_loss_is_driven_up_for_the_batch_as_one(norm):
    inputs, target, model = images(4, 3, 9, 7), labels(4, classes=3), TinyClassifier()

    def training_loss(pixels):
        return F.cross_entropy(model(pixels), target)

    adversarial = APGD(norm, EPS[norm], steps=10, objective='model-loss')(training_loss, inputs, None)
    assert training_loss(adversarial).item() > training_loss(inputs).item()
