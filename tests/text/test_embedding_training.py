"""Adversarial training of sentences against the loops of its papers, sentence by sentence and without padding."""

from typing import ClassVar

import pytest
import torch
from helpers import runner
from mmengine.hooks import Hook
from mmpretrain.structures import DataSample
from small_text import prepared, small_model, token_rows
from torch.nn import functional as F
from torch.utils.data import Dataset

from samat_mm.engine.hooks import AdversarialTrainingHook, FreeLBHook, FreePerturbationHook, TRADESHook
from samat_mm.perturbations.inputs import PGD, Problem
from samat_mm.perturbations.inputs.iterates import Iterates
from samat_mm.pixels.embedding_space import EmbeddingSpace

LENGTHS = (5, 9, 7, 4)
FGM = dict(type='FGSM', norm='l2', eps=0.5)
FREELB = dict(type='PGD', norm='l2', eps=0.6, step_size=0.3, steps=3)


class Sentences(Dataset):
    metainfo: ClassVar = dict(classes=('negative', 'positive'))

    def __init__(self, lengths=LENGTHS):
        self.rows = token_rows(*lengths)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return dict(inputs=self.rows[index], data_samples=DataSample().set_gt_label(index % 2))


class Forwards(Hook):
    """Keeps the arguments of every loss forward, behind the other hooks."""

    priority = 'LOWEST'

    def __init__(self):
        self.seen = []

    def before_train(self, run):
        run.model.register_forward_pre_hook(self._keep, with_kwargs=True)

    def _keep(self, model, args, kwargs):
        self.seen.append(kwargs)


def train(tmp_path, *hooks, model=None, wrapper=None, iterations=1, batch_size=2, lr=1.0):
    """Train in double precision by plain descent; returns the model and the arguments of its forwards."""
    model, forwards = model or small_model().double(), Forwards()
    wrapper = {'optimizer': dict(type='SGD', lr=lr), **(wrapper or dict(type='OptimWrapper'))}
    run = runner(
        model,
        tmp_path,
        train=Sentences(),
        iterations=iterations,
        batch_size=batch_size,
        optim_wrapper=wrapper,
        hooks=[*hooks, forwards],
    )
    run.train()
    return model, forwards.seen


# ------------------------------------------------------------------------------------------------- references


def loss_of(model, index, delta=0.0):
    """The loss of one sentence of the data, with delta (L, D) added to its embeddings."""
    tokens = token_rows(*LENGTHS)[index][None]
    return F.cross_entropy(model(model.embed(tokens) + delta), torch.tensor([index % 2]))


def ascent(model, index, delta):
    """The unit vector along which the loss of a sentence rises most at delta, all tokens together."""
    delta = delta.clone().requires_grad_()
    (grad,) = torch.autograd.grad(loss_of(model, index, delta), delta)
    return grad / grad.norm()


def zeros(index):
    return torch.zeros(LENGTHS[index], 8, dtype=torch.float64)


def fgm_delta(model, index, eps):
    """One step of length eps, or none where the loss is not higher there."""
    delta = eps * ascent(model, index, zeros(index))
    return delta if loss_of(model, index, delta) > loss_of(model, index) else zeros(index)


def gradient(model, loss):
    return torch.autograd.grad(loss, list(model.parameters()))


def descended(model, lr, grads):
    with torch.no_grad():
        for parameter, grad in zip(model.parameters(), grads, strict=True):
            parameter -= lr * grad


def assert_same_weights(model, expected, start, tolerance=1e-10):
    for (name, ours), theirs, before in zip(
        model.named_parameters(), expected.parameters(), start.parameters(), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance, msg=lambda text, name=name: f'{name}: {text}')
        assert not torch.equal(ours, before) or float((theirs - before).detach().abs().max()) < 1e-12, name


# ------------------------------------------------------------------------------------------------------ tests


def test_the_fast_gradient_method_is_the_loop_written_out(tmp_path):
    trained, seen = train(tmp_path, AdversarialTrainingHook(FGM), iterations=2, lr=0.1)
    expected = small_model().double()
    for batch in ((0, 1), (2, 3)):
        deltas = [fgm_delta(expected, index, 0.5) for index in batch]
        assert any(delta.norm() > 0.4 for delta in deltas)
        losses = [loss_of(expected, index, delta) for index, delta in zip(batch, deltas, strict=True)]
        descended(expected, 0.1, gradient(expected, sum(losses) / 2))
    assert_same_weights(trained, expected, small_model().double())
    perturbation = seen[0]['perturbation']
    assert perturbation.shape == (2, 9, 8) and not perturbation[0, 5:].any()  # padding


@pytest.mark.parametrize('steps', [1, 3])
def test_freelb_is_the_loop_written_out(steps, tmp_path, monkeypatch):
    """Gradients of the weights are added up over delta_0 .. delta_(K-1), a K-th of each."""
    starts, start = [], Iterates._start
    monkeypatch.setattr(Iterates, '_start', lambda *given: starts.append(start(*given)) or starts[-1])
    trained, seen = train(tmp_path, FreeLBHook({**FREELB, 'steps': steps}))
    expected = small_model().double()
    total = [torch.zeros_like(parameter) for parameter in expected.parameters()]
    for index in (0, 1):
        delta = starts[0][index, 0, : LENGTHS[index]]
        for _ in range(steps):
            grads = gradient(expected, loss_of(expected, index, delta) / (2 * steps))
            total = [before + grad for before, grad in zip(total, grads, strict=True)]
            delta = delta + 0.3 * ascent(expected, index, delta)
            delta = delta * min(1.0, 0.6 / float(delta.norm()))
    descended(expected, 1.0, total)
    assert_same_weights(trained, expected, small_model().double())
    assert len(seen) == 1 and seen[0]['inputs'].shape == (2 * steps, 9) == seen[0]['attention_mask'].shape
    assert len(seen[0]['data_samples']) == 2 * steps


def test_the_start_of_freelb_is_uniform_and_of_the_length_of_its_paper():
    """U(-eps, eps) / sqrt(n) in each of the n coordinates, the same for a sentence in any batch, nothing in padding."""
    images = torch.zeros(2, 1, 50, 40)
    attack = Iterates(PGD('l2', 2.0, 0.5, steps=1))

    def start(rows, numbers, sizes):
        return attack.search(Problem(lambda x: x, images[rows], None, numbers, sizes, box=None)).images

    first, second = start([0, 1], [3, 8], [(50, 40), (20, 40)])
    bound = 2.0 / (50 * 40) ** 0.5
    assert 0.99 * bound < float(first.abs().max()) <= bound
    assert float(first.norm()) == pytest.approx(2.0 / 3**0.5, rel=0.03)
    assert float(second.norm()) == pytest.approx(2.0 / 3**0.5, rel=0.05) and not second[:, 20:].any()
    assert torch.equal(start([1], [8], [(20, 40)])[0], second)
    still = attack.attack.replace(random_start=False, steps=1)
    assert not Iterates(still).search(Problem(lambda x: x, images, None, box=None)).images.any()


@pytest.mark.parametrize('hooks', [(), (FGM,)], ids=['sam', 'sam-and-fgm'])
def test_a_step_of_sam_is_the_composition_written_out(hooks, tmp_path):
    """delta at w; then e at (w, x + delta); then descend at (w + e, x + delta), with the same delta."""
    sam = dict(type='SAMOptimWrapper', rho=0.2)
    trained, seen = train(tmp_path, *map(AdversarialTrainingHook, hooks), wrapper=sam)
    expected = small_model().double()
    deltas = [fgm_delta(expected, index, 0.5) if hooks else zeros(index) for index in (0, 1)]

    def grads():
        return gradient(expected, sum(loss_of(expected, index, deltas[index]) for index in (0, 1)) / 2)

    up = grads()
    norm = torch.stack([grad.norm() for grad in up]).norm()
    descended(expected, -0.2 / norm, up)
    down = grads()
    descended(expected, 0.2 / norm, up)
    descended(expected, 1.0, down)
    assert_same_weights(trained, expected, small_model().double(), tolerance=1e-9)
    assert len(seen) == 2
    if hooks:
        assert torch.equal(seen[0]['perturbation'], seen[1]['perturbation'])


def test_trades_adds_the_divergence_at_the_perturbed_sentences(tmp_path, monkeypatch):
    attack = dict(type='PGD', norm='l2', eps=0.5, step_size=0.3, steps=2)
    points, craft = [], TRADESHook.adversarial_points
    monkeypatch.setattr(TRADESHook, 'adversarial_points', lambda *given: points.append(craft(*given)) or points[-1])
    trained, _ = train(tmp_path, TRADESHook(2.0, attack))
    expected = small_model().double()
    total = 0
    for index in (0, 1):
        tokens, delta = token_rows(*LENGTHS)[index][None], points[0][index, 0, : LENGTHS[index]]
        assert 0 < float(delta.norm()) <= 0.5 + 1e-9
        clean, moved = (expected(expected.embed(tokens) + change).log_softmax(1) for change in (0.0, delta))
        total = total + loss_of(expected, index) / 2 + 2.0 * (clean.exp() * (clean - moved)).sum() / 2
    descended(expected, 1.0, gradient(expected, total))
    assert_same_weights(trained, expected, small_model().double())


@pytest.mark.parametrize('hook', [AdversarialTrainingHook, FreeLBHook])
def test_perturbations_stay_in_the_ball_and_out_of_padding(hook, tmp_path):
    _, seen = train(tmp_path, hook(FREELB), iterations=2, lr=0.01)
    for batch, kwargs in zip(((0, 1), (2, 3)), seen, strict=True):
        for row, perturbation in enumerate(kwargs['perturbation']):
            length = LENGTHS[batch[row % 2]]
            assert not perturbation[length:].any()
            assert 0 < float(perturbation.norm()) <= 0.6 * (1 + 1e-9)
    assert not torch.equal(seen[0]['perturbation'][0, :4], seen[1]['perturbation'][0, :4])


def test_esam_replays_its_selection_of_sentences_with_their_masks(tmp_path):
    wrapper = dict(type='ESAMOptimWrapper', rho=0.1, beta=1.0, gamma=0.5)
    _, seen = train(tmp_path, AdversarialTrainingHook(FGM), wrapper=wrapper, batch_size=4)
    kept = [kwargs for kwargs in seen if len(kwargs['inputs']) == 2]
    assert len(kept) == 1
    mask, inputs = kept[0]['attention_mask'], kept[0]['inputs']
    assert torch.equal(mask, (inputs != 0).long()) and len(kept[0]['perturbation']) == 2
    rows = [inputs[row, : mask[row].sum()].tolist() for row in range(2)]
    assert all(row in [tokens.tolist() for tokens in token_rows(*LENGTHS)] for row in rows)


@pytest.mark.parametrize('same', [True, False])
def test_the_second_pass_of_sam_has_the_dropout_that_it_is_told_to_have(same, tmp_path):
    losses = []
    model = small_model(dropout=0.5).double()
    model.criterion.register_forward_hook(lambda module, args, output: losses.append(output.item()))
    train(tmp_path, model=model, wrapper=dict(type='SAMOptimWrapper', rho=1e-12, same_dropout=same))
    assert (losses[1] == pytest.approx(losses[0], abs=1e-9)) == same


def test_free_adversarial_training_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r'moves images, and DistilBertClassifier takes tokens; use Adversarial'):
        train(tmp_path, FreePerturbationHook(norm='l2', eps=0.5))


@pytest.mark.parametrize(
    'attack',
    [dict(FREELB, norm='linf', eps=0.1, step_size=0.1), dict(FREELB, restarts=2), dict(type='APGD', norm='l2')],
)
def test_freelb_is_refused_with_other_attacks(attack):
    with pytest.raises(ValueError, match=r"FreeLB trains on the iterates of one run of PGD in the norm 'l2'"):
        FreeLBHook(attack)


def test_the_log_says_radii_in_the_units_of_embeddings(tmp_path):
    model = small_model()
    assert FreeLBHook().maximiser(model) == 'FreeLB(attack=PGD(norm=l2, eps=0.6, step_size=0.1, steps=3))'
    assert AdversarialTrainingHook(FGM).maximiser(model) == 'FGSM(norm=l2, eps=0.5, step_size=0.5, steps=1)'


def test_an_attack_that_leaves_out_finished_sentences_keeps_each_with_its_mask():
    """The error of a sentence must not depend on which others are still attacked."""
    model = small_model(seed=3).double().eval()
    batch = prepared(model, 4, 12, 6, 9)
    mask = {'attention_mask': batch['attention_mask']}
    space = EmbeddingSpace(model, batch['inputs'], batch['data_samples'], mask)
    attack = PGD('l2', 2.0, 0.3, steps=6, goal='error', random_start=False)
    found = space.attack(attack, range(4))
    for row in range(4):
        alone = space.subset(torch.tensor([row]))
        torch.testing.assert_close(alone.attack(attack, [row])[0], found[row], rtol=0, atol=1e-9)
    wrong = space.wrong(space.pixels)
    assert wrong.any() and not wrong.all()
    assert not found[wrong].any() and found[~wrong].any()
