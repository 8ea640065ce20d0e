"""Attacks that stop at an error: what they find, what they ask, and what they make of values that are not finite."""

import pytest
import torch
from helpers import CLASSES, RandomState, TinyClassifier, TinySegmentor, attack_names, images, labels
from torch.nn import functional as F

from samat_mm.perturbations.inputs import APGD, FGSM, PGD, SEA, AutoAttack, CosPGD, SegPGD
from samat_mm.perturbations.inputs.objectives import TargetedDLR
from samat_mm.registry import ATTACKS

EPS = {'linf': 1 / 255, 'l2': 0.06}
each_norm = pytest.mark.parametrize('norm', EPS)
ASCENTS = [
    ('PGD', {'steps': 6}),
    ('PGD', {'steps': 6, 'random_start': False, 'restarts': 2}),
    ('PGD', {'steps': 6, 'objective': 'dlr', 'restarts': 2}),
    ('FGSM', {}),
    ('APGD', {'steps': 12}),
    ('APGD', {'steps': 12, 'objective': 'dlr', 'restarts': 2}),
]
every_ascent = pytest.mark.parametrize(('name', 'parameters'), ASCENTS, ids=str)


class Centred(torch.nn.Module):
    """A classifier whose images are near the borders of its classes; it counts the images that it is asked about."""

    def __init__(self):
        super().__init__()
        self.model, self.asked = TinyClassifier(), []
        with torch.no_grad():
            self.model.linear.bias -= self.model(images(64, 3, 9, 7)).mean(0) / 5

    def forward(self, pixels):
        self.asked.append(len(pixels))
        return self.model(pixels)


def problem(count=64):
    """Images of which the model gets every eighth wrong."""
    inputs, model = images(count, 3, 9, 7), Centred()
    target = model(inputs).argmax(1)
    target[::8] = (target[::8] + 1) % 3
    model.asked.clear()
    return model, inputs, target


def build(name, norm, goal, **parameters):
    return ATTACKS.build({'type': name, 'norm': norm, 'eps': EPS[norm], 'goal': goal, **parameters})


def wrong(model, pixels, target):
    with torch.no_grad():
        return model.model(pixels).argmax(1) != target


@each_norm
@every_ascent
def test_what_the_highest_loss_breaks_is_broken_and_wrong_images_are_returned_as_they_are(name, parameters, norm):
    model, inputs, target = problem()
    by_loss = wrong(model, build(name, norm, 'loss', **parameters)(model, inputs, target), target)
    adversarial = build(name, norm, 'error', **parameters)(model, inputs, target)
    by_error = wrong(model, adversarial, target)
    assert 8 < int(by_loss.sum()) < 64
    assert bool((by_error | ~by_loss).all())
    if name == 'APGD':  # it ranks by errors anyway
        assert torch.equal(by_error, by_loss)
    already = wrong(model, inputs, target)
    assert torch.equal(adversarial[already], inputs[already])
    size = (adversarial - inputs).flatten(1)
    size = size.abs().amax(1) if norm == 'linf' else size.norm(dim=1)
    assert float(size.max()) <= EPS[norm] * (1 + 1e-5)


@each_norm
def test_the_iterates_up_to_the_first_error_are_those_of_the_highest_loss(norm):
    """The first wrong iterate is returned, of an image that resists the one of the highest loss."""
    model, inputs, target = problem(16)
    iterates = []

    def recording(pixels):
        iterates.append(pixels.detach().clone())
        return model(pixels)

    plain = build('PGD', norm, 'loss', steps=5)(recording, inputs, target)
    found = build('PGD', norm, 'error', steps=5)(model, inputs, target)
    already = wrong(model, inputs, target)
    for row in (~already).nonzero().flatten().tolist():
        label = target[row : row + 1]
        first = next((one[row] for one in iterates if bool(wrong(model, one[row : row + 1], label))), plain[row])
        torch.testing.assert_close(found[row], first, rtol=0, atol=1e-6)


@each_norm
@every_ascent
def test_no_image_is_asked_about_again_once_it_is_wrong(name, parameters, norm):
    """A plain count: which images each iterate of the full attack leaves, the original images first."""
    model, inputs, target = problem()
    once = {**parameters, 'restarts': 1} if 'restarts' in parameters else parameters
    iterates = []

    def recording(pixels):
        iterates.append(pixels.detach().clone())
        return model(pixels)

    build(name, norm, 'loss', **once)(recording, inputs, target)
    model.asked.clear()
    build(name, norm, 'error', **once)(model, inputs, target)
    looked_at = [inputs, *iterates] if name != 'FGSM' and once.get('random_start', True) else iterates
    done, expected = torch.zeros(64, dtype=torch.bool), []
    for pixels in looked_at:
        expected.append(int((~done).sum()))
        done |= wrong(model, pixels, target)
    assert model.asked == [count for count in expected if count]
    assert sum(model.asked) < 64 * len(iterates)


@each_norm
@every_ascent
def test_a_batch_gives_what_its_images_give_one_by_one(name, parameters, norm):
    model, inputs, target = problem(16)
    model, inputs = model.double(), inputs.double()  # the sign of a gradient near 0 is a matter of rounding
    attack = build(name, norm, 'error', **parameters)
    state = RandomState()
    together = attack(model, inputs, target)
    alone = [attack(model, inputs[row : row + 1], target[row : row + 1], indices=[row]) for row in range(16)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-6)
    assert RandomState() == state


@every_ascent
def test_a_bound_predict_is_told_which_images_are_left(name, parameters):
    model, inputs, target = problem(16)
    model, inputs = model.double(), inputs.double()

    class Bound:
        def __init__(self, rows):
            self.rows = rows

        def __call__(self, pixels):
            return model(pixels + inputs[self.rows] - inputs[self.rows])

        def subset(self, rows):
            return Bound(self.rows[rows])

    attack = build(name, 'linf', 'error', **parameters)
    torch.testing.assert_close(attack(Bound(torch.arange(16)), inputs, target), attack(model, inputs, target))


@pytest.mark.parametrize('goal', ['loss', 'error'])
def test_padding_is_left_alone(goal):
    model, inputs, target = problem(4)
    adversarial = build('PGD', 'linf', goal, steps=3)(model, inputs, target, sizes=[(9, 7), (5, 4), (9, 7), (9, 7)])
    assert torch.equal(adversarial[1, :, 5:], inputs[1, :, 5:])
    assert torch.equal(adversarial[1, :, :, 4:], inputs[1, :, :, 4:])


@pytest.mark.parametrize('name', ['PGD', 'APGD'])
def test_it_has_no_effect_on_label_maps_and_the_models_own_loss(name):
    model, inputs, target = problem(8)
    maps = labels(8, 9, 7, classes=CLASSES)

    def training_loss(pixels):
        return F.cross_entropy(model(pixels), target)

    for predict, label, more in (
        (TinySegmentor(), maps, {}),
        (training_loss, None, {'objective': 'model-loss'}),
    ):
        found = [build(name, 'linf', goal, steps=4, **more)(predict, inputs, label) for goal in ('loss', 'error')]
        assert torch.equal(*found)


@pytest.mark.parametrize('name', ['PGD', 'APGD'])
def test_of_class_probabilities_the_largest_is_the_label(name):
    model, inputs, target = problem(8)
    attack = build(name, 'linf', 'error', steps=4)
    soft = F.one_hot(target, 3).float()
    torch.testing.assert_close(attack(model, inputs, soft), attack(model, inputs, target), rtol=0, atol=1e-6)


def test_a_description_builds_the_same_attack():
    assert 'goal' not in PGD().describe()
    for attack in (PGD(goal='error'), FGSM(goal='error'), APGD(goal='error')):
        assert attack.describe()['goal'] == 'error'
    again = ATTACKS.build(PGD(goal='error').describe())
    assert again.describe() == PGD(goal='error').describe()
    with pytest.raises(ValueError, match="goal must be one of loss, error; got 'margin'"):
        PGD(goal='margin')


@each_norm
def test_autoattack_asks_its_gradient_stages_about_what_is_left(norm, monkeypatch):
    model, inputs, target = problem()
    asked, broken = [], []
    for goal in ('error', 'loss'):
        monkeypatch.setattr(
            'samat_mm.perturbations.inputs.autoattack.APGD',
            lambda *args, goal, kept=goal, **more: APGD(*args, goal=kept, **more),
        )
        model.asked.clear()
        broken.append(wrong(model, AutoAttack(norm, EPS[norm], steps=20, queries=1)(model, inputs, target), target))
        asked.append(sum(model.asked))
    assert torch.equal(*broken)
    assert 8 < int(broken[0].sum()) < 64
    assert asked[0] < asked[1]


def test_a_loss_that_aims_at_classes_of_the_batch_is_told_which_images_are_left():
    generator = torch.Generator().manual_seed(0)
    logits, target = torch.randn(6, 5, generator=generator), torch.zeros(6, dtype=torch.long)
    loss, rows = TargetedDLR(torch.tensor([1, 2, 3, 4, 1, 2])), torch.tensor([5, 0, 3])
    expected = loss(logits, target, 0, 1)[rows]
    assert torch.equal(loss.subset(rows)(logits[rows], target[rows], 0, 1), expected)


# ------------------------------------------------------------------------------------------------- bad values


class Failing:
    """A model whose answers are not finite from a certain question on, for one image alone."""

    def __init__(self, model, question, value=float('nan')):
        self.model, self.question, self.value, self.questions = model, question, value, 0

    def __call__(self, pixels):
        output = self.model(pixels).clone()
        self.questions += 1
        if self.questions > self.question:
            output[-1] = self.value
        return output


FOR_CLASSIFIERS = ['FGSM', 'PGD', 'APGD', 'FAB', 'Square', 'StAdv', 'Pixle', 'AutoAttack']


@pytest.mark.parametrize('question', [0, 1, 2, 4])
@pytest.mark.parametrize('value', [float('nan'), float('inf')])
@pytest.mark.parametrize('name', FOR_CLASSIFIERS)
def test_an_answer_that_is_not_finite_is_an_error_and_never_a_success(name, value, question):
    """NaN has an arg max too, which is no prediction, so the image is not broken."""
    model, inputs, target = problem(4)
    target[0] = model(inputs).argmax(1)[0]
    attack = ATTACKS.build({'type': name, 'norm': 'linf', 'eps': 1e-4})
    failing = Failing(model, question, value)
    if name == 'FGSM' and question > 1:
        attack(failing, inputs, target)
        assert failing.questions == 2
        return
    with pytest.raises(FloatingPointError, match=r'not finite \(NaN or infinite\).*check the checkpoint'):
        attack(failing, inputs, target)


@pytest.mark.parametrize('question', [0, 3])
@pytest.mark.parametrize('attack', [PGD(steps=5, goal='error'), APGD(steps=5, goal='error')], ids=repr)
def test_nor_is_it_an_error_of_the_model_that_ends_the_search(attack, question):
    model, inputs, target = problem(4)
    target = model(inputs).argmax(1)
    with pytest.raises(FloatingPointError, match='not finite'):
        attack.at(1e-4)(Failing(model, question), inputs, target)


@pytest.mark.parametrize('question', [0, 1, 3])
@pytest.mark.parametrize('attack', [SegPGD(steps=5), CosPGD(steps=5), SEA(steps=10), APGD(steps=5)], ids=repr)
def test_the_same_for_label_maps(attack, question):
    with pytest.raises(FloatingPointError, match='not finite'):
        attack(Failing(TinySegmentor(), question), images(2, 3, 6, 6), labels(2, 6, 6, classes=CLASSES))


@pytest.mark.parametrize('name', FOR_CLASSIFIERS)
@pytest.mark.parametrize('goal', ['loss', 'error'])
def test_images_without_labels_are_returned_as_they_are(name, goal):
    model, inputs, target = problem(4)
    target[1:3] = 255
    more = {'goal': goal} if name in ('FGSM', 'PGD', 'APGD') else {}
    more |= {'queries': 20} if name in ('Square', 'AutoAttack') else {}
    for objective in ('cross-entropy', 'dlr') if more and name in ('PGD', 'APGD', 'FGSM') else (None,):
        chosen = {**more, 'objective': objective} if objective else more
        adversarial = ATTACKS.build({'type': name, 'norm': 'linf', 'eps': 0.02, **chosen})(model, inputs, target)
        assert torch.equal(adversarial[1:3], inputs[1:3])
        assert bool(torch.isfinite(adversarial).all())
        assert torch.equal(ATTACKS.build({'type': name, **more})(model, inputs[1:3], target[1:3]), inputs[1:3])


@pytest.mark.parametrize('name', ['FGSM', 'PGD', 'APGD', 'SegPGD', 'CosPGD', 'SEA'])
@each_norm
def test_label_maps_of_ignored_pixels_leave_the_image_as_it_is(name, norm):
    inputs, target = images(3, 3, 6, 6), labels(3, 6, 6, classes=CLASSES)
    target[1] = 255
    attack = ATTACKS.build({'type': name, 'norm': norm, 'eps': 0.02, **({'steps': 10} if name == 'SEA' else {})})
    adversarial = attack(TinySegmentor(), inputs, target)
    assert torch.equal(adversarial[1], inputs[1])
    assert not torch.equal(adversarial[0], inputs[0])
    nothing = attack(TinySegmentor(), inputs, torch.full_like(target, 255))
    assert torch.equal(nothing, inputs)


@pytest.mark.parametrize('name', attack_names())
@each_norm
def test_no_images_no_work(name, norm):
    empty = torch.zeros(0, 3, 6, 6)
    for target in (torch.zeros(0, dtype=torch.long), torch.zeros(0, 6, 6, dtype=torch.long)):
        found = ATTACKS.build({'type': name, 'norm': norm, 'eps': 0.1})(TinyClassifier(), empty, target)
        assert found.shape == empty.shape
