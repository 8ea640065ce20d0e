"""What every attack on classifiers promises, the yardsticks whose optimum is known, and parity with torchattacks."""

import inspect

import pytest
import torch
import torchattacks
from helpers import ClassificationImages, RandomState, TinyClassifier, TinySegmentor, classifier, images, labels, runner
from plain_square import plain_square
from torch import nn
from torch.nn import functional as F

from samat_mm.engine.hooks import AttackEvaluationHook
from samat_mm.perturbations.inputs import ClassificationAttack
from samat_mm.perturbations.inputs.classification import margins
from samat_mm.perturbations.inputs.flow import roughness, warp
from samat_mm.perturbations.inputs.isolated import isolated
from samat_mm.perturbations.inputs.torchattacks import NORMS
from samat_mm.perturbations.norms import norm_named
from samat_mm.perturbations.randomness import RandomStreams, generator_for
from samat_mm.presets import build_attacks
from samat_mm.registry import ATTACKS

EPS = {'linf': 0.1, 'l2': 1.0}
QUICK = {'queries': 30, 'steps': 6, 'restarts': 2, 'iterations': 15}
BOUNDED = [(name, {'norm': norm, 'eps': EPS[norm]}) for name in ('AutoAttack', 'FAB', 'Square') for norm in EPS]
BOUNDED += [('FMN', {'norm': norm, 'eps': EPS[norm], 'steps': 30}) for norm in EPS]
BOUNDED += [('FAB', {'norm': norm, 'eps': EPS[norm], 'targets': 'ranked'}) for norm in EPS]
BOUNDED += [('Torchattacks', {'norm': norm, 'eps': EPS[norm]}) for norm in EPS]
BOUNDED += [('Pixle', {'norm': norm, 'eps': 4 * EPS[norm]}) for norm in EPS]  # random: it needs more room
BOUNDED += [('StAdv', {'norm': norm, 'eps': EPS[norm], 'bound': 0.1, 'step_size': 0.02}) for norm in EPS]
BOUNDED += [('StAdv', {'norm': norm, 'eps': EPS[norm], 'form': 'original', 'weight': 0.001}) for norm in EPS]
UNBOUNDED = [
    ('Pixle', {}),
    ('StAdv', {'form': 'bounded', 'bound': 0.1, 'step_size': 0.02}),
    ('StAdv', {'form': 'original', 'weight': 0.001, 'steps': 20}),
]
each_norm = pytest.mark.parametrize('norm', EPS)


def _name(value):
    return '-'.join(map(str, value.values())) if isinstance(value, dict) else value


every_attack = pytest.mark.parametrize(('name', 'parameters'), BOUNDED + UNBOUNDED, ids=_name)
bounded_attack = pytest.mark.parametrize(('name', 'parameters'), BOUNDED, ids=_name)


class Fragile(nn.Module):
    """A smooth model that small changes fool, on 8x7 images."""

    def __init__(self, classes=5, seed=1):
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.normalisation = nn.Linear(3 * 8 * 7, 16), nn.BatchNorm1d(16)
        self.second = nn.Linear(16, classes)
        self.eval()

    def forward(self, pixels):
        return 3 * self.second(torch.tanh(6 * self.normalisation(self.first(pixels.flatten(1)))))


def build(name, parameters, **more):
    """Build an attack with few steps; parameters that its type does not have are left out."""
    known = inspect.signature(ATTACKS.get(name)).parameters
    wanted = {key: value for key, value in {**QUICK, **more}.items() if key in known}
    return ATTACKS.build({'type': name, **wanted, **parameters})


def lengths(norm, delta):
    flat = delta.double().flatten(1)
    return flat.abs().amax(1) if norm == 'linf' else flat.square().sum(1).sqrt()


def predicted(model, pixels):
    with torch.no_grad():
        return model(pixels).argmax(1)


def smooth_images(count, size=(8, 7), seed=0):
    """Images whose neighbouring pixels are alike, some of them at the very ends."""
    coarse = images(count, 3, 4, 4, seed=seed)
    return F.interpolate(coarse, size=size, mode='bicubic', align_corners=True).clamp(0, 1)


@pytest.fixture
def batch():
    """Six images: four that the model gets right and two that it does not."""
    inputs = smooth_images(6)
    target = predicted(Fragile(), inputs)
    target[2:4] = (target[2:4] + 1) % 5
    return inputs, target


# --------------------------------------------------------------------------------------------------- contract


def test_every_registered_attack_on_classifiers_is_tested():
    registered = {name for name, cls in ATTACKS.module_dict.items() if issubclass(cls, ClassificationAttack)}
    assert registered == {name for name, _ in BOUNDED + UNBOUNDED}


@every_attack
def test_stays_in_the_ball_and_in_the_pixel_box(name, parameters, batch):
    inputs, target = batch
    adversarial = build(name, parameters)(Fragile(), inputs, target)
    assert adversarial.shape == inputs.shape
    assert adversarial.dtype == inputs.dtype
    assert float(adversarial.min()) >= 0
    assert float(adversarial.max()) <= 1
    if 'eps' in parameters:
        assert float(lengths(parameters['norm'], adversarial - inputs).max()) <= parameters['eps'] * (1 + 1e-5)
    assert not bool((adversarial.flatten(1) == 0).all(1).any())  # an image of nothing is no attack


@every_attack
def test_fools_the_model_on_some_images_and_returns_wrong_ones_as_they_are(name, parameters, batch):
    inputs, target = batch
    model = Fragile()
    adversarial = build(name, parameters)(model, inputs, target)
    assert torch.equal(adversarial[2:4], inputs[2:4])
    wrong = predicted(model, adversarial) != target
    assert bool(wrong[2:4].all())
    assert int(wrong.sum()) > 2


@every_attack
def test_no_image_gets_easier(name, parameters, batch):
    inputs, target = batch
    model = Fragile()
    for eps in (0.002, 0.02):
        attack = build(name, {**parameters, **({'eps': eps} if 'eps' in parameters else {})})
        with torch.no_grad():
            before, after = (margins(model(x), target) for x in (inputs, attack(model, inputs, target)))
        assert bool((after <= before + 1e-6).all())


@bounded_attack
def test_eps_zero_returns_the_original_to_the_bit_and_detached(name, parameters, batch):
    inputs, target = batch
    adversarial = build(name, {**parameters, 'eps': 0})(Fragile(), inputs.clone().requires_grad_(), target)
    assert torch.equal(adversarial, inputs)
    assert not adversarial.requires_grad


def test_a_flow_that_may_not_move_returns_the_original(batch):
    assert torch.equal(ATTACKS.build({'type': 'StAdv', 'bound': 0})(Fragile(), *batch), batch[0])


@every_attack
def test_leaves_everything_as_it_was(name, parameters, batch):
    """Random states, gradients, requires_grad, modes, buffers and the inputs themselves."""
    inputs, target = batch
    model = Fragile()
    model.second.train()
    model.first.weight.requires_grad_(False)
    model.second.weight.grad = torch.ones_like(model.second.weight)

    def predict(pixels):
        return model(pixels + 1e-4 * torch.rand_like(pixels))  # a model that draws random numbers

    def everything():
        return (
            [(module.training, key) for key, module in model.named_modules()],
            [(key, value.requires_grad, value.grad is None) for key, value in model.named_parameters()],
        )

    before, state = everything(), {key: value.clone() for key, value in model.state_dict().items()}
    random_state, original = RandomState(), inputs.clone()
    adversarial = build(name, parameters)(predict, inputs, target)
    assert everything() == before
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    assert torch.equal(model.second.weight.grad, torch.ones_like(model.second.weight))
    assert RandomState() == random_state
    assert torch.equal(inputs, original)
    assert inputs.grad is None
    assert not inputs.requires_grad
    assert not adversarial.requires_grad


@every_attack
def test_a_module_that_trains_stays_so(name, parameters, batch):
    """The attack takes the model in whatever mode its caller put it."""
    model = Fragile().train()
    model.normalisation.eval()
    build(name, parameters)(model, *batch)
    assert [module.training for module in model.modules()] == [True, True, False, True]


@every_attack
def test_works_where_gradients_are_switched_off(name, parameters, batch):
    """MMEngine evaluates inside torch.no_grad."""
    model, attack = Fragile(), build(name, parameters)
    expected = attack(model, *batch)
    with torch.no_grad():
        assert torch.equal(attack(model, *batch), expected)
        assert not torch.is_grad_enabled()


@every_attack
def test_a_batch_gives_what_its_images_give_one_by_one_whatever_the_global_random_state(name, parameters, batch):
    inputs, target = batch
    model, attack = Fragile(), build(name, parameters, seed=3)
    torch.manual_seed(1)
    together = attack(model, inputs, target)
    torch.manual_seed(2)
    alone = [attack(model, inputs[i : i + 1], target[i : i + 1], indices=[i]) for i in range(len(inputs))]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-5)
    order = [4, 0, 3, 5, 2, 1]
    shuffled = attack(model, inputs[order], target[order], indices=order)
    torch.testing.assert_close(shuffled, together[order], rtol=0, atol=1e-5)


@pytest.mark.parametrize(('name', 'parameters'), [BOUNDED[4], BOUNDED[5], UNBOUNDED[0]], ids=_name)
def test_another_seed_and_another_number_give_another_search(name, parameters, batch):
    model = Fragile()
    found = [
        build(name, parameters, seed=seed)(model, *batch, indices=indices)
        for seed, indices in ((0, None), (1, None), (0, range(10, 16)))
    ]
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@every_attack
@pytest.mark.parametrize('classes', [2, 3, 12])
def test_any_number_of_classes(name, parameters, classes):
    model, inputs = Fragile(classes), smooth_images(4)
    target = predicted(model, inputs)
    adversarial = build(name, parameters)(model, inputs, target)
    assert bool((predicted(model, adversarial) != target).any())


@every_attack
def test_padding_is_never_touched(name, parameters):
    """An image attacked alone is the same image in the corner of a larger canvas."""
    model = TinyClassifier()

    def cropped(pixels):
        return model(pixels[:, :, :6, :5]) * 20

    small, canvas = smooth_images(2, (6, 5)), torch.rand(2, 3, 9, 8, generator=torch.Generator().manual_seed(0))
    canvas[:, :, :6, :5] = small
    target = predicted(cropped, small)
    attack = build(name, parameters)
    together = attack(cropped, canvas, target, sizes=[(6, 5), (6, 5)])
    torch.testing.assert_close(together[:, :, :6, :5], attack(cropped, small, target), rtol=0, atol=1e-5)
    assert torch.equal(together[:, :, 6:], canvas[:, :, 6:])
    assert torch.equal(together[:, :, :, 5:], canvas[:, :, :, 5:])
    mixed = attack(model, canvas, predicted(model, canvas), sizes=[(9, 8), (4, 4)])
    assert torch.equal(mixed[1, :, 4:], canvas[1, :, 4:])


@every_attack
def test_images_are_left_out_once_they_are_done_and_a_bound_predict_is_told_which(name, parameters, batch):
    inputs, target = batch
    model = Fragile()

    class Bound:
        """Adds to what it is asked a constant of each image, as a predict of a data set's batch does."""

        def __init__(self, rows):
            self.rows = rows

        def __call__(self, pixels):
            return model(pixels + inputs[self.rows] - inputs[self.rows])

        def subset(self, rows):
            return Bound(self.rows[rows])

    attack = build(name, parameters)
    torch.testing.assert_close(
        attack(Bound(torch.arange(6)), inputs, target), attack(model, inputs, target), rtol=0, atol=1e-4
    )
    with pytest.raises((ValueError, RuntimeError)):
        attack(lambda pixels: Bound(torch.arange(6))(pixels), inputs, target)


@every_attack
def test_labels_as_probabilities_count_as_the_most_probable_class(name, parameters, batch):
    inputs, target = batch
    model, attack = Fragile(), build(name, parameters)
    soft = 0.8 * F.one_hot(target, 5).float() + 0.04
    assert torch.equal(attack(model, inputs, soft), attack(model, inputs, target))


@every_attack
def test_double_precision_is_kept(name, parameters, batch):
    model, attack = Fragile().double(), build(name, parameters)
    adversarial = attack(model, batch[0].double(), batch[1])
    assert adversarial.dtype == torch.float64
    assert bool((predicted(model, adversarial) != batch[1])[2:4].all())


# ------------------------------------------------------------------------------------------------- bad values


@every_attack
def test_a_segmentor_is_refused_with_a_sentence(name, parameters):
    inputs, target = images(2, 3, 6, 6), labels(2, 6, 6, classes=4)
    with pytest.raises(ValueError, match=rf'{name} attacks classifiers, whose logits are \(N, K\); got .*PGD'):
        build(name, parameters)(TinySegmentor(), inputs, target)


@every_attack
def test_a_model_that_gives_nan_is_an_error(name, parameters, batch):
    model = Fragile()
    nn.init.constant_(model.second.bias, float('nan'))
    with pytest.raises(FloatingPointError, match='not finite'):
        build(name, parameters)(model, *batch)


@every_attack
@pytest.mark.parametrize(
    ('target', 'message'),
    [
        (torch.zeros(3, dtype=torch.long), r'got logits \(6, 5\) and target \(3,\)'),
        (torch.tensor([0, 1, 2, 3, 4, 5]), r'labels must lie in 0..4'),
        (torch.tensor([0, 1, 2, 3, 4, -1]), r'labels must lie in 0..4'),
        (None, 'needs a target'),
    ],
    ids=['count', 'too large', 'negative', 'none'],
)
def test_a_target_that_does_not_fit_is_an_error(name, parameters, target, message, batch):
    with pytest.raises(ValueError, match=message):
        build(name, parameters)(Fragile(), batch[0], target)


@every_attack
def test_an_image_without_a_label_is_returned_as_it_is(name, parameters, batch):
    inputs, target = batch
    target[0] = 255
    assert torch.equal(build(name, parameters)(Fragile(), inputs, target)[0], inputs[0])


def test_255_is_a_class_where_the_model_has_that_many():
    weight = torch.randn(300, 12, generator=torch.Generator().manual_seed(0))
    inputs = torch.full((1, 3, 2, 2), 0.5)
    lead = torch.zeros(300)
    lead[255] = 1 + (inputs.flatten(1) @ weight.T).max() - inputs.flatten() @ weight[255]

    def predict(pixels):
        return pixels.flatten(1) @ weight.T + lead

    assert int(predicted(predict, inputs)) == 255
    adversarial = build('FAB', {'norm': 'linf', 'eps': 0.4})(predict, inputs, torch.tensor([255]))
    assert int(predicted(predict, adversarial)) != 255


@every_attack
@pytest.mark.parametrize('wrong', [{'indices': [0]}, {'sizes': [(5, 5)]}])
def test_one_number_and_one_size_per_image(name, parameters, wrong, batch):
    with pytest.raises(ValueError, match='one entry for each of the 6 images'):
        build(name, parameters)(Fragile(), *batch, **wrong)


@every_attack
@pytest.mark.parametrize('value', [-0.01, 255.0, float('nan')])
def test_pixels_outside_0_to_1_are_an_error(name, parameters, value, batch):
    inputs, target = batch
    inputs[1, 2, 3, 4] = value
    with pytest.raises(ValueError, match=r'inputs must be pixels in \[0, 1\]'):
        build(name, parameters)(Fragile(), inputs, target)


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        ({'type': 'Square', 'queries': 0}, 'queries must be a whole number of at least 1; got 0'),
        ({'type': 'Square', 'p_init': 2}, 'p_init is a share, above 0 and at most 1'),
        ({'type': 'Square', 'schedule': 'slow'}, "schedule must be one of rescaled, fixed; got 'slow'"),
        ({'type': 'FAB', 'targets': 'all'}, "targets must be one of nearest, ranked; got 'all'"),
        ({'type': 'AutoAttack', 'norm': 'l0'}, "norm must be one of linf, l2, l1; got 'l0'"),
        ({'type': 'AutoAttack', 'eps': 8}, "Did you mean '8/255'"),
        ({'type': 'StAdv', 'form': 'mine'}, "form must be one of bounded, original; got 'mine'"),
        ({'type': 'StAdv', 'form': 'original', 'bound': 0.1}, 'the original form has neither'),
        ({'type': 'StAdv', 'weight': -1}, 'weight must be a finite number of at least 0'),
        ({'type': 'Pixle', 'widths': (5, 2)}, 'widths must be a smallest and a largest extent'),
        ({'type': 'Pixle', 'heights': 0}, 'heights must be'),
        ({'type': 'Pixle', 'norm': 'l2'}, "norm='l2' needs a radius; give eps too, or neither"),
        ({'type': 'Pixle', 'norm': 'l0', 'eps': 0.1}, "norm must be one of linf, l2, l1; got 'l0'"),
        ({'type': 'StAdv', 'eps': 8}, "Did you mean '8/255'"),
        ({'type': 'Pixle', 'steps': 3}, 'Pixle does not accept these parameters'),
    ],
    ids=str,
)
def test_a_parameter_out_of_its_range_is_named(config, message):
    with pytest.raises(ValueError, match=message):
        ATTACKS.build(config)


@every_attack
def test_a_description_is_plain_and_builds_the_same_attack(name, parameters, batch):
    attack = build(name, parameters, seed=2)
    assert all(type(value) in (str, int, float, bool) for value in attack.describe().values())
    known = inspect.signature(type(attack)).parameters
    again = ATTACKS.build({key: value for key, value in attack.describe().items() if key == 'type' or key in known})
    assert again.describe() == attack.describe()
    assert repr(attack) == repr(again)
    assert torch.equal(again(Fragile(), *batch), attack(Fragile(), *batch))


# ---------------------------------------------------------------------------------------------- optimum known


def linear_problem(count=8, size=5):
    """Two classes with logits (0, w.(x - 1/2) - b): the distance to the boundary is known, away from the pixel box."""
    weight = torch.randn(3, size, size, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    inputs = 0.5 + 0.2 * (torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(4)).double() - 0.5)

    def predict(pixels):
        score = ((pixels - 0.5) * weight).flatten(1).sum(1) - 0.3
        return torch.stack([torch.zeros_like(score), score], dim=1)

    dual = {'linf': weight.abs().sum(), 'l2': weight.square().sum().sqrt()}
    return (
        weight,
        predict,
        inputs,
        {norm: margins(predict(inputs), predicted(predict, inputs)) / dual[norm] for norm in dual},
    )


@each_norm
@pytest.mark.parametrize('targets', ['nearest', 'ranked'])
def test_fab_finds_the_minimal_perturbation_of_a_linear_model_within_a_percent(norm, targets):
    _, predict, inputs, distances = linear_problem()
    distance = distances[norm]
    target = predicted(predict, inputs)
    adversarial = build('FAB', {'norm': norm, 'eps': 0.3, 'targets': targets}, steps=10)(predict, inputs, target)
    assert bool((predicted(predict, adversarial) != target).all())
    share = lengths(norm, adversarial - inputs) / distance
    assert float(share.min()) >= 1 - 1e-9
    assert float(share.max()) <= 1.01


@each_norm
@pytest.mark.parametrize('name', ['AutoAttack', 'FAB'])
def test_the_images_that_flip_are_those_whose_margin_allows_it(name, norm):
    _, predict, inputs, distances = linear_problem()
    distance = distances[norm]
    target = predicted(predict, inputs)
    eps = float(distance.sort().values[3:5].mean())
    attack = build(name, {'norm': norm, 'eps': eps}, steps=20, queries=20, restarts=1)
    adversarial = attack(predict, inputs, target)
    flipped = predicted(predict, adversarial) != target
    assert torch.equal(flipped, distance <= eps)
    assert int(flipped.sum()) == 4
    assert torch.equal(adversarial[~flipped], inputs[~flipped])


@each_norm
@pytest.mark.parametrize('share', [0.3, 0.9, 1.5])
def test_the_nearest_point_of_a_hyperplane_in_the_pixel_box(norm, share):
    """Against bisection of the one multiplier that the optimum has."""
    generator = torch.Generator().manual_seed(1)
    pixels, normal = (torch.rand(5, 3, 4, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    normal = (normal - 0.5) * (normal - 0.5).abs().gt(0.1)
    sides = torch.tensor([1, -1, 1, -1, 1.0])
    towards = normal.sign() * sides.reshape(-1, 1, 1, 1)
    room = torch.where(towards > 0, 1 - pixels, pixels) * (normal != 0)
    rise = share * sides * (normal.abs() * room).flatten(1).sum(1)
    speed = normal.abs() if norm == 'l2' else torch.ones_like(normal)
    low, high = torch.zeros(5, 1, 1, 1).double(), torch.full((5, 1, 1, 1), 1e3).double()
    for _ in range(200):
        middle = (low + high) / 2
        short = ((normal.abs() * torch.minimum(middle * speed, room)).flatten(1).sum(1) < rise.abs()).reshape(
            -1, 1, 1, 1
        )
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    expected = towards * torch.minimum(high * speed, room)
    found = norm_named(norm).to_hyperplane(pixels, normal, rise)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    tiny = norm_named(norm).to_hyperplane(pixels.float(), (normal * 1e-30).float(), (rise * 1e-30).float())
    torch.testing.assert_close(tiny.double(), expected, rtol=0, atol=1e-4)


@each_norm
def test_a_hyperplane_out_of_reach_by_quotients_that_are_infinite_in_single_precision(norm):
    pixels, normal = torch.tensor([[1.0, 0.25, 0.5]]), torch.tensor([[1.0, -1e-40, 0.0]])
    found = norm_named(norm).to_hyperplane(pixels, normal, torch.tensor([50.0]))
    assert -0.25 <= float(found[0, 1]) < 0
    assert found[0, [0, 2]].tolist() == [0, 0]


# -------------------------------------------------------------------------------------------------- StAdv, Pixle


@each_norm
@pytest.mark.parametrize('name', ['Pixle', 'StAdv'])
def test_with_a_radius_what_is_asked_about_is_what_may_come_out(name, norm, batch):
    """Every image that the model sees lies in the ball, and reaches its border; without a radius none is shown."""
    inputs, target, model, eps = *batch, Fragile(), EPS[norm] / 4
    view = batch[0][predicted(model, inputs) == target]
    asked = []

    def predict(pixels):
        if len(pixels) == len(view):
            asked.append(lengths(norm, pixels - view))
        return model(pixels)

    more = {'bound': 0.5, 'step_size': 0.2} if name == 'StAdv' else {}
    attack = build(name, {'norm': norm, 'eps': eps, **more})
    attack(predict, inputs, target)
    sizes = torch.stack(asked)
    assert float(sizes.max()) <= eps * (1 + 1e-5)
    assert float(sizes.max()) > 0.99 * eps
    assert (attack.describe()['norm'], attack.describe()['eps']) == (norm, eps)
    assert not {'norm', 'eps'} & build(name, {}).describe().keys()


def test_a_radius_without_a_norm_is_one_of_linf():
    assert build('Pixle', {'eps': '8/255'}).describe()['norm'] == 'linf'


def test_the_patches_of_pixle_are_uniform_and_their_places_distinct():
    attack = ATTACKS.build({'type': 'Pixle', 'widths': (2, 4), 'heights': (1, 3)})
    draws = torch.rand(20000, 4 + 30, generator=torch.Generator().manual_seed(0))
    moves = attack._moves(torch.zeros(20000, 3, 5, 6), draws)
    sizes = (moves >= 0).sum(1)
    counts = {size: int((sizes == size).sum()) / 20000 for size in (2, 3, 4, 6, 8, 9, 12)}
    expected = {2: 1, 3: 1, 4: 2, 6: 2, 8: 1, 9: 1, 12: 1}  # of 9 equally probable pairs of extents
    assert counts == {size: pytest.approx(share / 9, abs=0.01) for size, share in expected.items()}
    for row in moves[:200]:
        patch = row[row >= 0].sort().values
        assert len(set(patch.tolist())) == len(patch)
        rows, columns = patch // 6, patch % 6
        assert (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1) == len(patch)
    places = (moves >= 0).float().mean(0)
    assert float(places.std() / places.mean()) < 0.05


def test_random_numbers_of_an_image_do_not_depend_on_the_other_images():
    """Also where images are left out and the counts differ from one question to the next."""
    images_ = torch.zeros(3, 3, 2, 2)
    together = RandomStreams([generator_for(0, index) for index in range(3)], images_)
    alone = RandomStreams([generator_for(0, 2)], images_[:1])
    for count, rows in ((7, [0, 1, 2]), (3000, [0, 2]), (3000, [2]), (5, [2]), (9000, [2])):
        expected = alone.take(torch.tensor([0]), count)
        assert torch.equal(together.take(torch.tensor(rows), count)[-1:], expected)
        assert expected.shape == (1, count)
        assert 0.3 < float(expected.mean()) < 0.7


def test_a_flow_of_a_pixel_shifts_the_image_and_none_leaves_it():
    inputs = images(2, 3, 6, 9)
    none = torch.zeros(2, 6, 9, 2)
    torch.testing.assert_close(warp(inputs, none), inputs, rtol=0, atol=1e-6)
    right = none.clone()
    right[..., 0] = 2 / 8
    expected = torch.cat([inputs[..., 1:], inputs[..., -1:]], dim=-1)
    torch.testing.assert_close(warp(inputs, right), expected, rtol=0, atol=1e-5)
    assert float(roughness(right).max()) < 0.1  # all alike
    right[0, 2, 3, 0] += 1
    assert float(roughness(right)[0]) == pytest.approx(8, rel=0.01)  # four neighbours, seen from both sides


def test_stadv_moves_no_pixel_further_than_the_bound(batch):
    """On a ramp of slope 1 per grid unit the change of a pixel is the flow."""
    ramp = ((torch.linspace(-1, 1, 7) + 2) / 4).expand(1, 3, 8, 7).contiguous()
    target = predicted(Fragile(), ramp)
    attack = ATTACKS.build({'type': 'StAdv', 'bound': '1/255', 'steps': 10})
    change = (attack(Fragile(), ramp, target) - ramp).abs()
    assert 0 < float(change.max()) <= 1 / 255 / 4 + 1e-6


def test_stadv_returns_the_image_where_nothing_helps(batch):
    def constant(pixels):
        return torch.tensor([[1.0, 0.0]]).expand(len(pixels), 2) + 0 * pixels.sum((1, 2, 3))[:, None]

    target = torch.zeros(6, dtype=torch.long)
    for form in ('bounded', 'original'):
        assert torch.equal(ATTACKS.build({'type': 'StAdv', 'form': form})(constant, batch[0], target), batch[0])


def test_pixle_only_copies_pixels_of_the_image_and_reaches_all_of_it():
    inputs, places = images(1, 3, 6, 11), torch.zeros(6, 11, dtype=torch.bool)
    asked = []

    def predict(pixels):
        asked.append(pixels.clone())
        return torch.tensor([[1.0, 0.0]]).expand(len(pixels), 2)

    ATTACKS.build({'type': 'Pixle', 'restarts': 30})(predict, inputs, torch.zeros(1, dtype=torch.long))
    palette = {tuple(pixel) for pixel in inputs[0].flatten(1).T.tolist()}
    for pixels in asked:
        assert {tuple(pixel) for pixel in pixels[0].flatten(1).T.tolist()} <= palette
        places |= (pixels != inputs)[0].any(0)
    assert bool(places.all())
    assert len(asked) == 2 + 30 * 10  # one question per candidate


def test_pixle_is_about_as_strong_as_that_of_torchattacks():
    """Both at 4 restarts of 5 candidates on 24 square images: the means of the label's probability are alike."""
    model, inputs = TinyClassifier(), smooth_images(24, (12, 12))
    target = predicted(model, inputs)
    ours = ATTACKS.build({'type': 'Pixle', 'restarts': 4, 'iterations': 5})(model, inputs, target)

    def make(module):
        return torchattacks.Pixle(module, restarts=4, max_iterations=5)

    theirs = isolated(make, model, inputs, target)
    with torch.no_grad():
        before, mine, other = (
            model(pixels).softmax(1).gather(1, target[:, None]).mean() for pixels in (inputs, ours, theirs)
        )
    assert float(mine) < float(before)
    assert float(before - mine) > 0.7 * float(before - other)


# --------------------------------------------------------------------------------------------------- torchattacks


class Margins(nn.Module):
    """A smooth model of any number of channels and any size, right by a long way, which remembers what it was asked."""

    def __init__(self, channels, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.convolution, self.linear = nn.Conv2d(channels, 4, 3, padding=1), nn.Linear(4, 3)
        self.asked = []

    def forward(self, pixels):
        self.asked += list(pixels.detach().clone())
        return 5 * self.linear(torch.tanh(3 * self.convolution(pixels)).mean((2, 3))) + torch.tensor([9.0, 0, 0])


@pytest.mark.parametrize(
    ('channels', 'height', 'width'), [(3, 12, 12), (3, 20, 20), (1, 15, 11), (2, 11, 26), (4, 9, 7), (3, 2, 5)]
)
@pytest.mark.parametrize(('norm', 'eps'), [('l2', 0.4), ('l2', 3.0), ('l1', 4.0), ('l1', 25.0)])
def test_the_windows_of_square_are_those_of_the_algorithm(channels, height, width, norm, eps):
    """Sixty queries; with the larger radius pixels are cut to [0, 1], so that some length is unused."""
    model, inputs = Margins(channels).double(), images(1, channels, height, width, seed=channels).double()
    target, numbers = torch.zeros(1, dtype=torch.long), torch.rand(1 << 16, generator=generator_for(3, 7, 0))
    draws = iter(numbers.double().tolist())

    def margin(pixels):
        with torch.no_grad():
            return float(margins(model(torch.from_numpy(pixels)[None]), target))

    expected = plain_square(norm, margin, inputs[0].numpy(), eps, 60, 0.8, lambda: next(draws))
    model.asked.clear()
    build('Square', {'norm': norm, 'eps': eps, 'seed': 3}, queries=60, restarts=1)(model, inputs, target, indices=[7])
    asked = model.asked[2:]  # after those that ask about the image itself
    assert len(asked) == len(expected) == 61
    for one, other in zip(asked, expected, strict=True):
        torch.testing.assert_close(one, torch.from_numpy(other), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ('norm', 'shape'), [('linf', (3, 20, 20)), ('linf', (3, 20, 18)), ('l2', (1, 20, 20))], ids=str
)
def test_the_squares_of_one_image_are_those_of_torchattacks(norm, shape):
    """Both draw the same numbers when they start from the same seed.

    Its squares do not fit narrower images. In l2 it lays its first grid out by the height alone, and takes the length
    of a window over all channels, which makes no difference for a single one.
    """
    model, inputs = Margins(shape[0]), images(3, *shape)
    target = predicted(model, inputs)
    ours = build('Square', {'norm': norm, 'eps': EPS[norm]}, queries=80, restarts=1)(model, inputs, target)
    for row in range(3):
        seed, one = generator_for(0, row, 0).initial_seed(), slice(row, row + 1)

        def make(module, seed=seed):
            attack = torchattacks.Square(module, norm=NORMS[norm], eps=EPS[norm], n_queries=80, seed=seed)
            attack.perturb = lambda x, y: (
                attack.init_hyperparam(x),
                torch.manual_seed(attack.seed),
                attack.attack_single_run(x, y)[1],  # perturb itself gives the original back where it fails
            )[-1]
            return attack

        expected = isolated(make, model, inputs[one], target[one])
        torch.testing.assert_close(ours[one], expected, rtol=0, atol=1e-5)


@each_norm
@pytest.mark.parametrize('targets', ['nearest', 'ranked'])
def test_fab_is_that_of_torchattacks(norm, targets):
    model, inputs = Fragile(), smooth_images(8, seed=2)
    target = predicted(model, inputs)
    ours = build('FAB', {'norm': norm, 'eps': EPS[norm], 'targets': targets}, steps=10, restarts=1)

    def make(module):
        ranked = targets == 'ranked'
        return torchattacks.FAB(module, norm=NORMS[norm], eps=EPS[norm], steps=10, multi_targeted=ranked, n_classes=5)

    expected = isolated(make, model, inputs, target)
    assert bool((predicted(model, expected) != target).any())
    torch.testing.assert_close(ours(model, inputs, target), expected, rtol=0, atol=1e-4)


@each_norm
def test_autoattack_breaks_the_images_that_its_parts_in_torchattacks_break(norm):
    """Put together by hand: torchattacks' own AutoAttack makes 10 steps and takes 10 classes for granted."""
    model, inputs = Fragile(12), smooth_images(16, seed=5)
    target = predicted(model, inputs)
    eps = EPS[norm] / 4
    shared = {'norm': NORMS[norm], 'eps': eps}

    def make(module):
        return torchattacks.MultiAttack(
            [
                torchattacks.APGD(module, steps=20, **shared),
                torchattacks.APGDT(module, steps=20, n_classes=10, **shared),
                torchattacks.FAB(module, steps=20, multi_targeted=True, n_classes=10, **shared),
                torchattacks.Square(module, n_queries=20, resc_schedule=False, **shared),
            ]
        )

    expected = predicted(model, isolated(make, model, inputs, target)) != target
    ours = ATTACKS.build({'type': 'AutoAttack', 'norm': norm, 'eps': eps, 'steps': 20, 'queries': 20})
    assert 0 < int(expected.sum()) < len(inputs)
    assert torch.equal(predicted(model, ours(model, inputs, target)) != target, expected)


@each_norm
def test_a_square_fits_into_images_of_any_shape(norm):
    for shape in ((1, 1), (2, 9), (9, 2), (14, 14), (7, 5)):
        inputs = images(2, 3, *shape)
        for share in (1.0, 0.3, 0.001):
            proposals = norm_named(norm).squares(0.1)
            best = (inputs + 0.01).clamp(0, 1)
            candidate = proposals.propose(inputs, best, share, lambda count: torch.rand(2, count))
            assert bool(torch.isfinite(candidate).all())
            assert float(lengths(norm, candidate - inputs).max()) <= 0.1 * (1 + 1e-5)


def test_the_adapter_isolates_torchattacks(batch):
    """Its FAB calls backward, its Pixle NumPy's generator, all of them switch modes and seed."""
    inputs, target = batch
    model = Fragile().train()
    model.normalisation.eval()
    random_state = RandomState()
    for kind in ('FAB', 'Pixle', 'Square', 'APGD'):
        isolated(lambda module, kind=kind: getattr(torchattacks, kind)(module), model, inputs, target)
    assert RandomState() == random_state
    assert [module.training for module in model.modules()] == [True, True, False, True]
    assert all(parameter.grad is None for parameter in model.parameters())
    attack = torchattacks.FAB(model, n_classes=5)  # what the adapter is for
    attack(inputs, target)
    assert any(parameter.grad is not None for parameter in model.parameters())


# ------------------------------------------------------------------------------------------------------ OpenMMLab


def test_presets_have_the_papers_settings():
    attacks = build_attacks(['autoattack-l2', 'fab-l2', 'square-linf', 'stadv', 'pixle'])
    described = {name: attack.describe() for name, attack in attacks.items()}
    assert (described['autoattack-l2']['eps'], described['autoattack-l2']['steps']) == (32 / 255, 100)
    assert (described['fab-l2']['eps'], described['fab-l2']['steps']) == (32 / 255, 10)
    assert described['square-linf']['queries'] == 5000
    assert (described['stadv']['bound'], described['stadv']['step_size'], described['stadv']['steps']) == (
        1 / 255,
        1e-3,
        10,
    )
    assert described['pixle']['iterations'] == 5


def test_the_evaluation_hook_runs_them_whatever_the_batch_size(tmp_path):
    attacks = [{'type': name, **parameters} for name, parameters in (BOUNDED[2], BOUNDED[5], UNBOUNDED[0])]
    for config in attacks:
        config.update({'Square': {'queries': 5}, 'FAB': {'steps': 2}, 'Pixle': {'restarts': 1}}[config['type']])
    attacks += [dict(type='Torchattacks', attack='DeepFool', steps=2), dict(type='APGD', steps=5, goal='error')]
    model, results = classifier(), []
    for size in (1, 3):
        hook = AttackEvaluationHook(attacks)
        run = runner(model, tmp_path, evaluate=ClassificationImages(5), eval_batch_size=size, hooks=[hook])
        results.append(run.val_loop.run())
    assert results[0] == results[1]
    assert {key.split('/')[0] for key in results[0]} >= {'fab-linf', 'square-l2', 'pixle', 'torchattacks', 'apgd'}
