"""What every attack promises, the yardsticks whose optimum is known, and parity with torchattacks."""

import inspect

import pytest
import torch
import torchattacks
from helpers import CLASSES, RandomState, TinyClassifier, TinySegmentor, attack_names, images, labels
from torch.nn import functional as F

from samat_mm.errors import NonFiniteError
from samat_mm.perturbations.inputs import FGSM, OBJECTIVES, PGD, ClassificationAttack
from samat_mm.perturbations.inputs.divergence import DivergenceAttack
from samat_mm.perturbations.inputs.objectives import DifferenceOfLogitsRatio, PixelObjective
from samat_mm.registry import ATTACKS

EPS = {'linf': 8 / 255, 'l2': 0.5}
# Every registered attack, and those that take an objective with each that is a function of logits: 'PGD:segpgd'.
CASES = [name for name in attack_names() if not issubclass(ATTACKS.get(name), ClassificationAttack)] + [
    f'{name}:{objective}'
    for name in ('PGD', 'APGD')
    for objective, value in OBJECTIVES.items()
    if value.output == 'logits' and objective != 'cross-entropy'
]


def build(name, norm, **parameters):
    """Build a registered attack; parameters that its type does not have are left out."""
    name, _, objective = name.partition(':')
    wanted = {'norm': norm, 'eps': EPS[norm], 'steps': 10 if name == 'SEA' else 3, **parameters}
    if objective:
        wanted['objective'] = objective
    known = inspect.signature(ATTACKS.get(name)).parameters
    return ATTACKS.build({'type': name, **{key: value for key, value in wanted.items() if key in known}})


def is_dense(name):
    return isinstance(build(name, 'linf').objective, PixelObjective)


def is_for_classifiers(name):
    return isinstance(build(name, 'linf').objective, DifferenceOfLogitsRatio)


def over(cases):
    return pytest.mark.parametrize(('name', 'norm'), [(name, norm) for name in cases for norm in EPS])


every_attack = over(CASES)
every_type = over(attack_names())  # for what does not depend on the objective
every_attack_on_label_maps = over([name for name in CASES if not is_for_classifiers(name)])
every_attack_on_class_probabilities = over(
    [name for name in CASES if not is_dense(name) and not is_for_classifiers(name)]
)
each_norm = pytest.mark.parametrize('norm', EPS)


def problem(name):
    """A model, images and labels of the task that an attack is for."""
    if is_dense(name):
        target = labels(4, 9, 7, classes=CLASSES)
        target[0, :2] = 255
        return TinySegmentor(), images(4, 3, 9, 7), target
    return TinyClassifier(), images(4, 3, 9, 7), labels(4, classes=3)


def ranks(attack, model, pixels, target):
    """By what an attack compares the iterates of each image: one tuple per image."""
    judge = getattr(attack, 'members', [attack])[0]
    with torch.no_grad():
        output = model(pixels)
        loss = judge.objective(output, target, 0, 1)
        return [tuple(row) for row in judge.rank_of(judge.objective)(loss, output, target).tolist()]


def lengths(norm, delta):
    """The norm of each perturbation, in double precision."""
    flat = delta.double().flatten(1)
    return flat.abs().amax(1) if norm == 'linf' else flat.square().sum(1).sqrt()


def losses(model, pixels, target):
    """The cross-entropy of each image, averaged over its labelled pixels."""
    with torch.no_grad():
        logits = model(pixels)
    if logits.ndim == 2:
        return F.cross_entropy(logits, target, reduction='none')
    rows = [
        F.cross_entropy(row[None], label[None], ignore_index=255) for row, label in zip(logits, target, strict=True)
    ]
    return torch.stack(rows)


class Recording:
    """A predict that remembers what it was asked."""

    def __init__(self, model):
        self.model, self.asked = model, []

    def __call__(self, pixels):
        self.asked.append(pixels.detach().clone())
        return self.model(pixels)


@pytest.fixture
def batch():
    return images(4, 3, 9, 7), labels(4, classes=3)


# --------------------------------------------------------------------------------------------------- contract


@every_attack
@pytest.mark.parametrize('start', [True, False])
def test_stays_in_the_ball_and_in_the_pixel_box(name, norm, start):
    model, inputs, target = problem(name)
    adversarial = build(name, norm, random_start=start, steps=10)(model, inputs, target)
    assert adversarial.shape == inputs.shape
    assert adversarial.dtype == inputs.dtype
    assert float(adversarial.min()) >= 0
    assert float(adversarial.max()) <= 1
    size = lengths(norm, adversarial - inputs)
    assert float(size.max()) <= EPS[norm] * (1 + 1e-5)
    assert float(size.max()) > 0.5 * EPS[norm]  # and makes use of the ball


@every_type
def test_every_type_takes_a_norm_and_a_radius_and_keeps_to_them(name, norm):
    quick = {'steps': 10, 'queries': 20, 'restarts': 2}
    known = inspect.signature(ATTACKS.get(name)).parameters
    config = {'type': name, 'norm': norm, 'eps': EPS[norm]}
    attack = ATTACKS.build({**config, **{key: value for key, value in quick.items() if key in known}})
    model, inputs, target = problem(name)
    adversarial = attack(model, inputs, target)
    assert 0 <= float(adversarial.min()) <= float(adversarial.max()) <= 1
    assert float(lengths(norm, adversarial - inputs).max()) <= EPS[norm] * (1 + 1e-5)
    described = ATTACKS.build(config).describe()
    assert (described['norm'], described['eps']) == (norm, EPS[norm])


@every_type
def test_eps_zero_returns_the_original_to_the_bit_and_detached(name, norm):
    model, inputs, target = problem(name)
    adversarial = build(name, norm, eps=0)(model, inputs.clone().requires_grad_(), target)
    assert torch.equal(adversarial, inputs)
    assert not adversarial.requires_grad


@every_attack
def test_leaves_everything_as_it_was(name, norm):
    """Random state, gradients, requires_grad, modes, buffers and the inputs themselves."""
    model, inputs, target = problem(name)
    last = model.head if is_dense(name) else model.linear
    model.normalisation.eval()
    last.train()
    model.convolution.weight.requires_grad_(False)
    last.weight.grad = torch.ones_like(last.weight)

    def predict(pixels):
        return model(pixels + 0.01 * torch.rand_like(pixels))  # a model that draws random numbers

    def everything():
        return (
            [(module.training, key) for key, module in model.named_modules()],
            [(key, value.requires_grad, value.grad is None) for key, value in model.named_parameters()],
            {key: value.clone() for key, value in model.state_dict().items()},
        )

    modes, parameters, state = everything()
    random_state, original = RandomState(), inputs.clone()
    adversarial = build(name, norm)(predict, inputs, target)
    assert everything()[0] == modes
    assert everything()[1] == parameters
    assert all(torch.equal(state[key], value) for key, value in everything()[2].items())
    assert torch.equal(last.weight.grad, torch.ones_like(last.weight))
    assert RandomState() == random_state
    assert torch.equal(inputs, original)
    assert inputs.grad is None
    assert not inputs.requires_grad
    assert not adversarial.requires_grad
    assert not torch.equal(adversarial, inputs)


@every_attack
def test_works_where_gradients_are_switched_off(name, norm):
    """MMEngine evaluates inside torch.no_grad."""
    (model, *batch), attack = problem(name), build(name, norm)
    expected = attack(model, *batch)
    with torch.no_grad():
        assert torch.equal(attack(model, *batch), expected)
        assert not torch.is_grad_enabled()


@every_attack
def test_the_same_seed_gives_the_same_images_whatever_the_global_random_state(name, norm):
    model, *batch = problem(name)
    torch.manual_seed(1)
    first = build(name, norm, seed=5)(model, *batch)
    torch.manual_seed(2)
    assert torch.equal(build(name, norm, seed=5)(model, *batch), first)


@each_norm
def test_another_seed_another_number_and_another_restart_give_another_start(norm, batch):
    def start(seed=0, indices=None, restarts=1):
        predict = Recording(TinyClassifier())
        PGD(norm, EPS[norm], steps=1, seed=seed, restarts=restarts)(predict, *batch, indices=indices)
        return predict.asked[2 * (restarts - 1)]

    starts = [start(), start(seed=1), start(indices=[4, 5, 6, 7]), start(restarts=2)]
    for index, one in enumerate(starts):
        assert all(not torch.equal(one, other) for other in starts[index + 1 :])
    rows = start(indices=[3, 3, 0, 1]) - batch[0]
    interior = ((batch[0] > 0.2) & (batch[0] < 0.8))[:2].all(0)  # where nothing was clipped at 0 or 1
    torch.testing.assert_close(rows[0][interior], rows[1][interior])


@every_attack
def test_a_batch_gives_what_its_images_give_one_by_one(name, norm):
    (model, inputs, target), attack = problem(name), build(name, norm, restarts=2)
    together = attack(model, inputs, target)
    alone = [attack(model, inputs[i : i + 1], target[i : i + 1], indices=[i]) for i in range(len(inputs))]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-6)


@over([name for name in CASES if name != 'SEA'])  # most of its iterates lie outside the ball: see test_sea.py
@pytest.mark.parametrize('share', [0.1, 2.0])
def test_the_result_is_the_best_iterate_of_each_image(name, norm, share):
    """Also where the steps are too long to climb."""
    model, inputs, target = problem(name)
    predict, attack = Recording(model), build(name, norm, step_size=share * EPS[norm], steps=4, restarts=2)
    adversarial = attack(predict, inputs, target)
    of_all = [ranks(attack, model, asked, target) for asked in predict.asked]
    assert len(of_all) >= 2
    for row, rank in enumerate(ranks(attack, model, adversarial, target)):
        assert rank >= of_all[0][row]  # never weaker than its start
        best = max(range(len(of_all)), key=lambda index, row=row: of_all[index][row])
        assert rank == of_all[best][row]
        assert torch.equal(adversarial[row], predict.asked[best][row])


@each_norm
def test_restarts_never_make_an_attack_weaker(norm, batch):
    inputs, target = batch
    model = TinyClassifier()
    strength = [
        losses(model, PGD(norm, EPS[norm], steps=2, restarts=restarts)(model, inputs, target), target)
        for restarts in (1, 2, 4)
    ]
    assert bool((strength[1] >= strength[0]).all())
    assert bool((strength[2] >= strength[1]).all())
    assert bool((strength[2] > strength[0]).any())


@every_attack
def test_an_attack_raises_what_it_ranks_by(name, norm):
    model, inputs, target = problem(name)
    attack = build(name, norm, steps=10, random_start=False)
    before = ranks(attack, model, inputs, target)
    after = ranks(attack, model, attack(model, inputs, target), target)
    assert all(new >= old for new, old in zip(after, before, strict=True))
    assert sum(new > old for new, old in zip(after, before, strict=True)) >= len(before) / 2


@every_attack_on_label_maps
def test_padding_is_never_touched_and_takes_no_part_of_the_radius(name, norm):
    """An image attacked alone is the same image in the corner of a larger canvas."""
    small, large = images(1, 3, 6, 5, seed=1), images(1, 3, 9, 8, seed=2)
    canvas = torch.zeros(2, 3, 9, 8)
    canvas[0, :, :6, :5], canvas[1] = small[0], large[0]
    target = torch.full((2, 9, 8), 255)
    target[0, :6, :5], target[1] = labels(6, 5, classes=CLASSES, seed=1), labels(9, 8, classes=CLASSES, seed=2)
    model, attack = TinySegmentor(), build(name, norm)
    together = attack(model, canvas, target, sizes=[(6, 5), (9, 8)])
    torch.testing.assert_close(
        together[:1, :, :6, :5], attack(model, small, target[:1, :6, :5], indices=[0]), rtol=0, atol=1e-6
    )
    torch.testing.assert_close(together[1:], attack(model, large, target[1:], indices=[1]), rtol=0, atol=1e-6)
    together[0, :, :6, :5] = 0
    assert torch.equal(together[0], torch.zeros(3, 9, 8))


@every_attack_on_label_maps
def test_pixels_that_no_labelled_pixel_depends_on_are_not_worth_a_step(name, norm):
    """The 3x3 neighbourhood of what is labelled is all that has a gradient."""
    model, inputs, target = TinySegmentor(), images(1, 3, 8, 8), torch.full((1, 8, 8), 255)
    target[:, :3] = model(inputs).argmax(1)[:, :3]
    adversarial = build(name, norm, random_start=False, steps=10)(model, inputs, target)
    assert torch.equal(adversarial[:, :, 4:], inputs[:, :, 4:])
    assert not torch.equal(adversarial[:, :, :4], inputs[:, :, :4])


@every_attack_on_label_maps
def test_an_image_without_labels_stays_in_the_ball_and_does_not_disturb_the_others(name, norm):
    inputs, target = images(3, 3, 6, 6), labels(3, 6, 6, classes=CLASSES)
    target[1] = 255
    model, attack = TinySegmentor(), build(name, norm)
    adversarial = attack(model, inputs, target)
    assert bool(torch.isfinite(adversarial).all())
    assert float(lengths(norm, adversarial - inputs).max()) <= EPS[norm] * (1 + 1e-5)
    others = [0, 2]
    torch.testing.assert_close(
        adversarial[others], attack(model, inputs[others], target[others], indices=others), rtol=0, atol=1e-6
    )


@every_attack_on_class_probabilities
def test_mixed_labels_are_attacked_too(name, norm, batch):
    inputs, target = batch
    model, attack = TinyClassifier(), build(name, norm)
    certain = F.one_hot(target, 3).float()
    torch.testing.assert_close(attack(model, inputs, certain), attack(model, inputs, target), rtol=0, atol=1e-6)


@each_norm
def test_the_model_loss_is_driven_up_for_the_batch_as_one(norm, batch):
    inputs, target = batch
    model = TinyClassifier()

    def training_loss(pixels):
        return F.cross_entropy(model(pixels), target)

    adversarial = PGD(norm, EPS[norm], steps=5, objective='model-loss')(training_loss, inputs, None)
    assert float(training_loss(adversarial)) > float(training_loss(inputs))
    assert float(lengths(norm, adversarial - inputs).max()) <= EPS[norm] * (1 + 1e-5)


# ------------------------------------------------------------------------------------------- optimum known


def linear_problem(size=6):
    """Two classes with logits (0, w.x + b): the loss of class 0 rises with w.x, whatever x is."""
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(3, size, size, generator=generator, dtype=torch.float64) / 5

    def predict(pixels):
        score = (pixels * weight).flatten(1).sum(1) + 0.1
        return torch.stack([torch.zeros_like(score), score], dim=1)

    return weight, predict, torch.zeros(2, dtype=torch.long)


@pytest.mark.parametrize(
    'attack', [PGD('linf', 8 / 255), PGD('linf', 8 / 255, random_start=False), FGSM('linf', 8 / 255)]
)
def test_linf_optimum_of_a_linear_model(attack):
    """x + eps sign(w), cut to the pixel box."""
    weight, predict, target = linear_problem()
    inputs = images(2, 3, 6, 6).double()
    expected = (inputs + 8 / 255 * weight.sign()).clamp(0, 1)
    torch.testing.assert_close(attack(predict, inputs, target), expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize('attack', [PGD('l2', 0.3, random_start=False), FGSM('l2', 0.3)])
def test_l2_optimum_of_a_linear_model(attack):
    """x + eps w / ||w||, away from the pixel box."""
    weight, predict, target = linear_problem()
    inputs = torch.full((2, 3, 6, 6), 0.5, dtype=torch.float64)
    expected = inputs + 0.3 * weight / weight.square().sum().sqrt()
    torch.testing.assert_close(attack(predict, inputs, target), expected, rtol=0, atol=1e-7)


def test_l2_random_starts_come_close_to_the_optimum_of_a_linear_model():
    weight, predict, target = linear_problem()
    inputs = torch.full((2, 3, 6, 6), 0.5, dtype=torch.float64)
    best = 0.3 * float(weight.square().sum().sqrt())  # the largest rise of w.x
    adversarial = PGD('l2', 0.3, steps=20)(predict, inputs, target)
    rise = ((adversarial - inputs) * weight).flatten(1).sum(1)
    assert bool((rise <= best * (1 + 1e-9)).all())
    assert bool((rise >= 0.99 * best).all())


@each_norm
def test_optimum_of_a_linear_model_of_every_pixel(norm):
    """Two classes per pixel; the gradient of a pixel's loss is its softmax error times w, so its sign is w's."""
    generator = torch.Generator().manual_seed(4)
    weight = torch.randn(3, generator=generator, dtype=torch.float64)
    inputs, eps = torch.full((1, 3, 4, 4), 0.5, dtype=torch.float64), EPS[norm] / 2
    target = torch.zeros(1, 4, 4, dtype=torch.long)
    target[0, 2:] = 1

    def predict(pixels):
        score = torch.einsum('nchw,c->nhw', pixels - 0.5, weight)
        return torch.stack([torch.zeros_like(score), score], dim=1)

    side = torch.where(target == 0, 1.0, -1.0)[:, None]
    direction = side * weight.reshape(1, 3, 1, 1).expand_as(inputs)
    if norm == 'linf':
        expected = inputs + eps * direction.sign()
    else:  # all pixels alike, so each gets the same share of the radius
        expected = inputs + eps * direction / direction.square().sum().sqrt()
    adversarial = PGD(norm, eps, random_start=False)(predict, inputs, target)
    torch.testing.assert_close(adversarial, expected, rtol=0, atol=1e-7)


# --------------------------------------------------------------------------------------------- torchattacks


class RecordingModule(torch.nn.Module):
    """For torchattacks, which wants a module."""

    def __init__(self, model):
        super().__init__()
        self.model, self.asked = model, []

    def forward(self, pixels):
        self.asked.append(pixels.detach().clone())
        return self.model(pixels)


def theirs(attack_type, model, inputs, target, **parameters):
    """All iterates of an attack of torchattacks, the result last. It keeps the last iterate, not the best."""
    module = RecordingModule(model).eval()  # torchattacks puts the whole tree into training mode otherwise
    result = attack_type(module, **parameters)(inputs, target)
    return [*module.asked, result]


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize(
    ('norm', 'reference'), [('linf', torchattacks.PGD), ('l2', torchattacks.PGDL2)], ids=['PGD', 'PGDL2']
)
def test_the_iterates_are_those_of_torchattacks(norm, reference, seed):
    inputs, target, model = images(4, 3, 9, 7, seed=seed), labels(4, classes=3, seed=seed), TinyClassifier(seed)
    step_size = EPS[norm] / 3
    expected = theirs(reference, model, inputs, target, eps=EPS[norm], alpha=step_size, steps=6, random_start=False)
    predict = Recording(model)
    PGD(norm, EPS[norm], step_size, steps=6, random_start=False)(predict, inputs, target)
    assert len(predict.asked) == len(expected) == 7
    for ours, other in zip(predict.asked, expected, strict=True):
        torch.testing.assert_close(ours, other, rtol=0, atol=1e-6)


def test_the_iterates_on_label_maps_are_those_of_torchattacks():
    """Its loss is the mean over all pixels: with every pixel labelled the direction is the same."""
    inputs, target, model = images(1, 3, 9, 7), labels(1, 9, 7, classes=CLASSES), TinySegmentor()
    expected = theirs(torchattacks.PGD, model, inputs, target, eps=8 / 255, alpha=2 / 255, steps=5, random_start=False)
    predict = Recording(model)
    PGD('linf', '8/255', '2/255', steps=5, random_start=False)(predict, inputs, target)
    for ours, other in zip(predict.asked, expected, strict=True):
        torch.testing.assert_close(ours, other, rtol=0, atol=1e-6)


def test_fgsm_is_that_of_torchattacks(batch):
    inputs, target = batch
    model = TinyClassifier()
    expected = torchattacks.FGSM(model, eps=8 / 255)(inputs, target)
    assert bool((losses(model, expected, target) > losses(model, inputs, target)).all())
    torch.testing.assert_close(FGSM('linf', '8/255')(model, inputs, target), expected, rtol=0, atol=1e-6)


# ----------------------------------------------------------------------------------------------- bad values


@pytest.mark.parametrize(
    ('parameters', 'message'),
    [
        ({'eps': 8}, "eps must be in .*got 8. Did you mean '8/255'"),
        ({'eps': '8'}, "eps must be in .*got 8. Did you mean '8/255'"),
        ({'eps': 1.01}, 'eps must be in'),
        ({'eps': -1}, 'eps must be .* at least 0'),
        ({'eps': 'abc'}, "eps must be a number or a fraction such as '8/255'; got 'abc'"),
        ({'eps': float('nan')}, 'eps must be a finite number'),
        ({'steps': 0}, 'steps must be a whole number of at least 1; got 0'),
        ({'steps': -3}, 'steps must be a whole number of at least 1; got -3'),
        ({'steps': 1.5}, 'steps must be a whole number of at least 1; got 1.5'),
        ({'steps': '10'}, "steps must be a whole number of at least 1; got '10'"),
        ({'steps': True}, 'steps must be a whole number of at least 1; got True'),
        ({'restarts': 0}, 'restarts must be a whole number of at least 1; got 0'),
        ({'step_size': 0}, 'step_size must be greater than 0'),
        ({'step_size': -0.1}, 'step_size must be .* at least 0'),
        ({'step_size': 'x'}, 'step_size must be a number or a fraction'),
        ({'norm': 'l0'}, "norm must be one of linf, l2, l1; got 'l0'"),
        ({'norm': 'L2'}, "norm must be one of linf, l2, l1; got 'L2'"),
        ({'objective': 'hinge'}, "objective must be one of cross-entropy, .*got 'hinge'"),
        ({'alpha': 1}, "PGD does not accept these parameters: .*'alpha'"),
    ],
    ids=str,
)
def test_a_parameter_out_of_its_range_is_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        ATTACKS.build({'type': 'PGD', **parameters})


@pytest.mark.parametrize('eps', [8, '8', 15])
def test_an_l2_radius_beyond_the_images_diagonal_is_refused_when_the_images_come(eps):
    """8 is a possible length on a large image; on one of 3x4x4 pixels it was meant as 8/255."""
    with pytest.raises(ValueError, match=r"Did you mean '.*/255'"):
        PGD('l2', eps)(TinyClassifier(), images(1, 3, 4, 4), labels(1, classes=3))


@pytest.mark.parametrize('config', [{'type': 'PGDD'}, {'norm': 'l2'}, {}])
def test_an_unknown_type_is_refused_with_the_known_ones(config):
    with pytest.raises(ValueError, match=r'is unknown; the known ones are .*FGSM.*PGD'):
        ATTACKS.build(config)


def test_a_name_is_no_config():
    """Presets are names elsewhere; a bare string must not come back as if it were an attack."""
    with pytest.raises((ValueError, TypeError), match=r'pgd-linf'):
        ATTACKS.build('pgd-linf')


@every_attack
def test_a_model_that_gives_nan_is_an_error(name, norm):
    model, *batch = problem(name)
    torch.nn.init.constant_((model.head if is_dense(name) else model.linear).bias, float('nan'))
    with pytest.raises(FloatingPointError, match=r'not finite'):
        build(name, norm)(model, *batch)


class Spoiled(torch.autograd.Function):
    """Pixels as they are, with a gradient that has one bad value in every dark image."""

    @staticmethod
    def forward(ctx, pixels, value):
        ctx.dark, ctx.value = pixels.mean((1, 2, 3)) < 0.3, value
        return pixels.clone()

    @staticmethod
    def backward(ctx, grad):
        grad = grad.clone()
        grad[ctx.dark, -1, -1, -1] = ctx.value
        return grad, None


ASKS_NO_GRADIENT = ('Pixle', 'Square')
# Every way to a gradient that is not taken by default.
FURTHER = [('FAB', {'targets': 'ranked'}), ('StAdv', {'form': 'original'}), ('PGD', {'objective': 'dlr'})]
FURTHER += [(name, {'goal': 'error'}) for name in ('PGD', 'FGSM', 'APGD')]


def spoiled_problem(name, value):
    """A model with finite logits that is right about all images, of which the third has a bad gradient."""
    model, inputs, _ = problem(name)
    inputs[2] *= 0.2

    def predict(pixels):
        return model(Spoiled.apply(pixels, value))

    return predict, inputs, model(inputs).argmax(1)


@pytest.mark.parametrize('norm', EPS)
@pytest.mark.parametrize('value', [float('nan'), -float('inf')])
@pytest.mark.parametrize(
    ('name', 'parameters'), [(name, {}) for name in sorted({*CASES, *attack_names()})] + FURTHER, ids=str
)
def test_a_gradient_that_is_not_finite_is_an_error_also_of_one_image_alone(name, parameters, norm, value):
    """The sign of NaN is 0, so that an attack in linf would stand still and the model look robust."""
    predict, inputs, target = spoiled_problem(name, value)
    attack = build(name, norm, eps=0.5 / 255, queries=3, restarts=1, iterations=2, **parameters)
    if name in ASKS_NO_GRADIENT:
        attack(predict, inputs, target)
        return
    with pytest.raises(NonFiniteError, match='gradient of the loss with respect to the images is not finite'):
        attack(predict, inputs, target)
    others = [0, 1, 3]
    attack(predict, inputs[others], target[others])


@each_norm
def test_a_bad_gradient_of_the_divergence_is_an_error(norm):
    predict, inputs, target = spoiled_problem('PGD', float('nan'))
    with pytest.raises(NonFiniteError, match='gradient'):
        DivergenceAttack(build('PGD', norm, random_start=False))(predict, inputs, target)


@every_type
@pytest.mark.parametrize('value', [-0.01, 1.01, 255.0, float('nan'), float('inf')])
def test_pixels_outside_0_to_1_are_an_error(name, norm, value):
    model, inputs, target = problem(name)
    inputs[1, 2, 3, 4] = value
    with pytest.raises(ValueError, match=r'inputs must be pixels in \[0, 1\]'):
        build(name, norm)(model, inputs, target)


@every_type
@pytest.mark.parametrize(
    'inputs', [torch.zeros(3, 8, 8), torch.zeros(1, 3, 8, 8, dtype=torch.uint8)], ids=['3d', 'uint8']
)
def test_what_is_no_batch_of_images_is_an_error(name, norm, inputs):
    with pytest.raises(ValueError, match=r'floating point pixels of shape \(N, C, H, W\)'):
        build(name, norm)(TinyClassifier(), inputs, torch.zeros(1, dtype=torch.long))


@every_attack
@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda target: target[:3], r'got logits \(4, .* and target \(3'),
        (
            lambda target: target.new_zeros(4, 9, 7) if target.ndim == 1 else target[:, 0, 0],
            r'got logits .* and target',
        ),
        (
            lambda target: target.new_zeros(4, 9, 8) if target.ndim == 3 else target[:, None],
            r'got logits .* and target',
        ),
        (lambda target: target.clamp_max(3).masked_fill(target == 0, 4), r'labels must lie in 0..'),
        (lambda target: target.masked_fill(target == 0, -1), r'labels must lie in 0..'),
        (lambda target: None, 'needs a target'),
    ],
    ids=['count', 'other task', 'size', 'too large', 'negative', 'none'],
)
def test_a_target_that_does_not_fit_is_an_error(name, norm, change, message):
    model, inputs, target = problem(name)
    with pytest.raises(ValueError, match=message):
        build(name, norm)(model, inputs, change(target))


@over([name for name in CASES if is_dense(name)])
def test_a_dense_attack_on_a_classifier_is_refused(name, norm, batch):
    with pytest.raises(ValueError, match=r'weighs the pixels of a segmentation.*Use PGD or APGD with cross-entropy'):
        build(name, norm)(TinyClassifier(), *batch)


@over([name for name in CASES if is_for_classifiers(name)])
def test_an_attack_on_margins_of_a_label_map_is_refused(name, norm):
    with pytest.raises(ValueError, match=r'dlr compares the logits of an image.*masked-cross-entropy'):
        build(name, norm)(TinySegmentor(), images(1, 3, 5, 5), labels(1, 5, 5, classes=CLASSES))


@every_type
@pytest.mark.parametrize('wrong', [{'indices': [0]}, {'sizes': [(9, 7)]}])
def test_one_number_and_one_size_per_image(name, norm, wrong):
    """Fewer than the images are an error, not a silent repetition."""
    if name == 'FGSM' and 'indices' in wrong:
        pytest.skip('FGSM starts at the image: numbers have no meaning for it')
    if 'sizes' in wrong:
        wrong = {'sizes': [(5, 5)]}
    with pytest.raises(ValueError):
        build(name, norm)(*problem(name), **wrong)


def test_an_attack_describes_itself_in_plain_types():
    attack = PGD('l2', '128/255', '32/255', steps=7, restarts=2, seed=3)
    assert attack.describe() == {
        'type': 'PGD',
        'norm': 'l2',
        'eps': 128 / 255,
        'step_size': 32 / 255,
        'steps': 7,
        'random_start': True,
        'restarts': 2,
        'objective': 'cross-entropy',
        'seed': 3,
    }
    assert repr(attack).startswith("PGD(norm='l2', eps=0.50196")


@every_attack
def test_a_description_builds_the_same_attack(name, norm):
    attack = build(name, norm, seed=2)
    known = inspect.signature(type(attack)).parameters
    again = ATTACKS.build({key: value for key, value in attack.describe().items() if key == 'type' or key in known})
    assert again.describe() == attack.describe()
    assert torch.equal(again(*problem(name)), attack(*problem(name)))


def test_the_step_is_a_quarter_of_the_radius_by_default():
    assert PGD('linf', '8/255').step_size == pytest.approx(2 / 255)


@each_norm
def test_a_step_longer_than_the_ball_is_wide_was_meant_in_255ths(norm):
    with pytest.raises(ValueError, match=r"step_size must not exceed the diameter of the ball.*Did you mean '2/255'"):
        PGD(norm, '8/255', step_size=2)
