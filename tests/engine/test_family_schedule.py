"""Which forwards a step runs, on which samples, in which precision; and the settings that are refused."""

import copy
import logging
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.optim import build_optim_wrapper
from small_models import CLASSES, FAMILY, ONE_PASS, PlainNet, SampledNet, plain_batches
from torch import Tensor, nn
from torch.nn import functional as F

from samat_mm.perturbations.weights import SAM

SGD = dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=1e-2)


def wrap(model: nn.Module, method: str = 'SAM', driver: dict | None = None, **perturbation: Any) -> Any:
    perturbation = dict(type=method, **({'rho': 0.2} | perturbation))
    config = dict(type='SAMOptimWrapper', optimizer=dict(SGD), perturbation=perturbation, **(driver or {}))
    return build_optim_wrapper(model, config)


def net(kind: type[PlainNet] = SampledNet, dtype: torch.dtype = torch.float64) -> PlainNet:
    torch.manual_seed(0)
    return kind().to(dtype).train()


class Passes:
    """Records what every forward of a model sees: its inputs, its precision and the weights."""

    def __init__(self, model: PlainNet) -> None:
        self.inputs: list[Tensor] = []
        self.dtypes: list[torch.dtype] = []
        self.weights: list[list[Tensor]] = []
        model.conv.register_forward_hook(self)
        self.model = model

    def __call__(self, module: nn.Module, args: tuple[Tensor], output: Tensor) -> None:
        self.inputs.append(args[0].detach().clone())
        self.dtypes.append(output.dtype)
        self.weights.append([parameter.detach().clone() for parameter in self.model.parameters()])

    @property
    def sizes(self) -> list[int]:
        return [len(inputs) for inputs in self.inputs]


def passes_of(model: PlainNet, wrapper: Any, batches: list[dict]) -> list[int]:
    """Return the number of forwards of each step."""
    passes, counts = Passes(model), []
    for batch in batches:
        before = len(passes.sizes)
        model.train_step(batch, wrapper)
        counts.append(len(passes.sizes) - before)
    return counts


@pytest.fixture
def messages() -> Iterator[list[str]]:
    """Return what is logged meanwhile."""
    found: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield found
    logger.removeHandler(handler)


# LookSAM


@pytest.mark.parametrize('interval', [1, 2, 3, 5])
@pytest.mark.parametrize('driver', [dict(), dict(start_iter=2), dict(accumulative_counts=2)], ids=str)
def test_looksam_looks_every_so_many_steps(interval: int, driver: dict) -> None:
    counts, start = driver.get('accumulative_counts', 1), driver.get('start_iter', 0)
    model = net()
    found = passes_of(model, wrap(model, 'LookSAM', driver, interval=interval), plain_batches(14))
    due = [step >= start and (step - start) % interval == 0 for step in (index // counts for index in range(14))]
    assert found == [2 if looks else 1 for looks in due]
    if not driver:
        assert found.count(2) == math.ceil(14 / interval)


def test_looksam_looks_at_once_where_it_has_nothing_to_go_by() -> None:
    """Continued in the middle of its interval from a run without it."""
    model = net()
    wrapper = wrap(model, 'LookSAM', interval=5)
    wrapper.initialize_count_status(model, 3, 20)
    assert passes_of(model, wrapper, plain_batches(4)) == [2, 1, 2, 1]  # steps 3 to 6


def test_between_two_looks_the_gradient_has_the_length_of_the_method() -> None:
    """g + alpha (||g|| / ||v||) v: the difference to g is alpha times as long as g."""
    model = net()
    wrapper = wrap(model, 'LookSAM', interval=2, alpha=0.7)
    first, second = plain_batches(2)
    model.train_step(first, wrapper)
    loss = copy.deepcopy(model)
    gradients = torch.autograd.grad(loss(**second, mode='loss')['loss'], list(loss.parameters()))
    stepped: list[Tensor] = []
    wrapper.optimizer.register_step_pre_hook(lambda *_: stepped.extend(p.grad.clone() for p in model.parameters()))
    model.train_step(second, wrapper)
    plain = torch.cat([gradient.flatten() for gradient in gradients])
    added = torch.cat([gradient.flatten() for gradient in stepped]) - plain
    assert float(added.norm()) == pytest.approx(0.7 * float(plain.norm()), rel=1e-9)


@pytest.mark.parametrize('case', FAMILY)
def test_start_iter_is_plain_training_until_then(case: str) -> None:
    model, reference = net(), net()
    settings = dict(type='SAMOptimWrapper', optimizer=dict(SGD), start_iter=3, **copy.deepcopy(FAMILY[case]))
    wrapper = build_optim_wrapper(model, settings)
    plain = build_optim_wrapper(reference, dict(type='OptimWrapper', optimizer=dict(SGD)))
    batches = plain_batches(4)
    assert passes_of(model, wrapper, batches[:3]) == [1, 1, 1]
    for batch in batches[:3]:
        reference.train_step(batch, plain)
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), reference.parameters(), strict=True))
    assert (passes_of(model, wrapper, batches[3:])[0] >= 2) == (case not in ONE_PASS)


def test_looksam_is_plain_training_once_its_radius_is_zero() -> None:
    """A schedule of rho may end there; an old gradient must not stay the direction for ever."""
    model, reference = net(), net()
    batches, plain = plain_batches(6), dict(type='OptimWrapper', optimizer=dict(SGD))
    for candidate, zero in ((model, True), (reference, False)):
        wrapper = wrap(candidate, 'LookSAM', interval=2)
        passes_of(candidate, wrapper, batches[:3])
        if zero:
            wrapper.param_groups[0]['rho'] = 0.0
        else:
            state, wrapper = copy.deepcopy(wrapper.state_dict()), build_optim_wrapper(candidate, plain)
            wrapper.load_state_dict(state)
        assert passes_of(candidate, wrapper, batches[3:]) == [1, 1, 1]
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), reference.parameters(), strict=True))


def test_the_radius_of_gsam_follows_the_learning_rate() -> None:
    model = net()
    wrapper = wrap(model, 'GSAM', rho_min=0.1)
    wrapper.param_groups[0]['initial_lr'] = SGD['lr']  # what a scheduler notes
    passes, lengths = Passes(model), []
    for share, batch in zip((1, 0.5, 0), plain_batches(3), strict=True):
        wrapper.param_groups[0]['lr'] = share * SGD['lr']
        model.train_step(batch, wrapper)
        moved = [(b - a).flatten() for a, b in zip(*passes.weights[-2:], strict=True)]
        lengths.append(float(torch.cat(moved).norm()))
    assert lengths == pytest.approx([0.2, 0.15, 0.1], rel=1e-9)


# ESAM


@pytest.mark.parametrize(
    ('settings', 'sizes'),
    [
        (dict(), [10, 10, 5]),
        (dict(selection='bfloat16'), [10, 10, 5]),
        (dict(selection='loss'), [10, 5]),
        (dict(gamma=1.0), [10, 10]),
        (dict(gamma=1.0, selection='loss'), [10, 10]),
        (dict(gamma=0.32), [10, 10, 3]),
        (dict(gamma=0.01), [10, 10, 2]),  # batch normalisation needs two
        (dict(mask='coordinates'), [10, 10, 5]),
    ],
    ids=str,
)
@pytest.mark.parametrize('counts', [1, 2])
def test_esam_descends_on_its_share_of_the_samples(settings: dict, sizes: list[int], counts: int) -> None:
    model = net()
    passes = Passes(model)
    wrapper = wrap(model, 'ESAM', dict(accumulative_counts=counts), **settings)
    for batch in plain_batches(2, size=10):
        model.train_step(batch, wrapper)
    assert passes.sizes == sizes * 2


@pytest.mark.parametrize('selection', ['forward', 'loss'])
def test_esam_takes_the_samples_that_it_hurts_most(selection: str) -> None:
    model, (batch,) = net(), plain_batches(1, size=10)
    passes = Passes(model)
    model.train_step(batch, wrap(model, 'ESAM', rho=2.0, selection=selection))
    losses = []
    for weights in (passes.weights[0], passes.weights[-1]):
        other = net()
        for parameter, value in zip(other.parameters(), weights, strict=True):
            parameter.data.copy_(value)
        losses.append(F.cross_entropy(other(batch['inputs']), batch['labels'], reduction='none').detach())
    scores = losses[0] if selection == 'loss' else losses[1] - losses[0]
    hurt = sorted(range(10), key=lambda index: -float(scores[index]))[:5]
    assert torch.equal(passes.inputs[-1], batch['inputs'][sorted(hurt)])


def test_esam_on_a_loss_without_samples_says_so_once_and_takes_all(messages: list[str]) -> None:
    """Its weight perturbation remains."""
    model, reference = net(PlainNet), net(PlainNet)
    batches = plain_batches(4)
    assert passes_of(model, wrap(model, 'ESAM'), batches) == [2] * 4
    found = [message for message in messages if 'not a mean over samples' in message]
    assert len(found) == 1
    assert 'PlainNet' in found[0]
    assert 'ESAM' in found[0]
    assert 'all samples take part' in found[0]
    passes_of(reference, wrap(reference, 'ESAM', gamma=1.0), batches)
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), reference.parameters(), strict=True))


def test_esam_says_nothing_where_there_are_samples(messages: list[str]) -> None:
    model = net()
    passes_of(model, wrap(model, 'ESAM'), plain_batches(2))
    assert not [message for message in messages if 'not a mean over samples' in message]


def test_a_loss_that_is_not_finite_is_not_called_one_without_samples(messages: list[str]) -> None:
    """As a loss scaler meets it now and then: the message would be false, and is given only once."""
    model = net()
    model.head.register_forward_hook(lambda module, args, output: output * torch.nan)
    model.train_step(plain_batches(1)[0], wrap(model, 'ESAM'))
    assert not [message for message in messages if 'not a mean over samples' in message]


def test_the_mask_of_ssam_knows_weights_that_are_drawn_later() -> None:
    """ESAM's draw differs from step to step; every weight that it draws has a share in the mask."""
    model = net()
    wrapper = wrap(model, 'SSAMD', direction=dict(type='ESAM', beta=0.3), update_interval=2)
    passes = Passes(model)
    for batch in plain_batches(20):
        model.train_step(batch, wrapper)
    moved = [
        any(not torch.equal(one, other) for one, other in zip(*parameter, strict=True))
        for parameter in zip(
            zip(*passes.weights[::3], strict=True), zip(*passes.weights[2::3], strict=True), strict=True
        )
    ]
    assert all(moved)


def test_ssam_on_a_loss_without_samples_says_so_once(messages: list[str]) -> None:
    model = net(PlainNet)
    passes_of(model, wrap(model, 'SSAMF', samples=4, update_interval=1), plain_batches(6))
    assert len([message for message in messages if 'counts as that of one sample' in message]) == 1


# The precision and the share of the first pass


def test_the_first_pass_may_run_in_bfloat16() -> None:
    model = net(dtype=torch.float32)
    passes = Passes(model)
    wrapper = wrap(model, 'SAM', dict(ascent_dtype='bfloat16', interval=3))
    for batch in plain_batches(4, dtype=torch.float32):
        model.train_step(batch, wrapper)
    low, full = torch.bfloat16, torch.float32
    assert passes.dtypes == [low, full, full, full, low, full]  # steps that look have two
    assert all(parameter.dtype == full for parameter in model.parameters())


def test_the_selection_may_run_in_bfloat16() -> None:
    model = net(dtype=torch.float32)
    passes = Passes(model)
    model.train_step(plain_batches(1, dtype=torch.float32)[0], wrap(model, 'ESAM', selection='bfloat16'))
    assert passes.dtypes == [torch.float32, torch.bfloat16, torch.float32]


@pytest.mark.parametrize('method', ['SAM', 'ASAM', 'AWP', 'FriendlySAM'])
def test_a_first_pass_in_bfloat16_hardly_changes_the_trajectory(method: str) -> None:
    start, ends = net(dtype=torch.float32).head.weight.detach(), []
    for driver in (dict(), dict(ascent_dtype='bfloat16'), None):
        model = net(dtype=torch.float32)
        rho = dict() if driver is not None else dict(rho=0)
        passes_of(model, wrap(model, method, driver, **rho), plain_batches(8, dtype=torch.float32))
        ends.append(model.head.weight.detach())
    assert not torch.equal(ends[0], ends[1])
    assert float((ends[0] - ends[1]).norm()) < 0.2 * float((ends[0] - ends[2]).norm())  # of what the method does
    assert float((ends[0] - ends[1]).norm()) < 0.02 * float((ends[0] - start).norm())


@pytest.mark.parametrize(('share', 'count'), [(0.5, 5), (0.41, 5), (0.4, 4), (0.01, 2), (1.0, 10)])
def test_the_first_pass_may_run_on_a_share_of_the_batch(share: float, count: int) -> None:
    model, (batch,) = net(), plain_batches(1, size=10)
    passes = Passes(model)
    part = {key: value[:count] for key, value in batch.items()}
    expected = float(copy.deepcopy(model)(**part, mode='loss')['loss'].detach())
    outputs = model.train_step(batch, wrap(model, driver=dict(ascent_share=share)))
    assert passes.sizes == [count, 10]
    assert torch.equal(passes.inputs[-2], batch['inputs'][:count])
    assert float(outputs['loss']) == pytest.approx(expected, rel=1e-12)


class ListNet(BaseModel):
    """Takes lists of one image and one label per sample, as MMEngine's plain data preprocessor hands them on."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(18, CLASSES)
        self.sizes: list[int] = []

    def forward(self, inputs: list[Tensor], labels: list[Tensor] | None = None, mode: str = 'tensor') -> Any:
        self.sizes.append(len(inputs))
        logits = self.head(torch.stack(list(inputs)).flatten(1))
        return {'loss': F.cross_entropy(logits, torch.stack(list(labels)))}


@pytest.mark.parametrize('samples', [4, 8])
def test_a_share_of_a_list_of_images_is_some_of_the_images(samples: int) -> None:
    model = ListNet().double()
    batch = {
        'inputs': list(torch.randn(samples, 2, 3, 3, dtype=torch.float64)),
        'labels': list(torch.arange(samples) % CLASSES),
    }
    model.train_step(batch, wrap(model, driver=dict(ascent_share=0.5)))
    assert model.sizes == [samples // 2, samples]


# Refusals


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dict(ascent_dtype='float16'), "ascent_dtype must be 'bfloat16' or None, .*; got 'float16'"),
        (dict(ascent_share=0), 'ascent_share is a share, above 0 and at most 1; got 0'),
        (dict(ascent_share=1.5), 'ascent_share is a share.*got 1.5'),
        (dict(ascent_share=0.5, perturbation=dict(type='ESAM')), 'ESAM compares the losses of all samples.*0.5'),
        (dict(ascent_share=0.5, perturbation=dict(type='WSAM')), 'WSAM mixes the first gradient into the descent'),
        (dict(ascent_dtype='bfloat16', perturbation=dict(type='GSAM')), 'GSAM mixes the first gradient'),
        (
            dict(ascent_share=0.5, perturbation=dict(type='MSAM')),
            'MSAM has no pass for its ascent; leave out',
        ),
        (dict(ascent_dtype='bfloat16', perturbation=dict(type='SAM', steps=2)), 'SAM has 2 passes for its ascent'),
        (dict(last=0), 'last is a share, above 0 and at most 1; got 0'),
        (dict(last=0.1, start_iter=3), 'start_iter=3 and last=0.1 both say where perturbing begins; give one'),
        (dict(interval=2.5), 'interval must be a whole number of at least 1; got 2.5'),
        (dict(start_iter=1.5), 'start_iter must be a whole number of at least 0; got 1.5'),
        (dict(perturbation='LookSAM'), r"perturbation must be a config such as .*; got 'LookSAM'"),
        (dict(perturbation=SAM(0.1), rho=0.2), 'rho would change a SAM that is already built; give it there'),
        (dict(interval=2, perturbation=dict(type='LookSAM')), r'LookSAM.* has its own interval; give it there'),
        (dict(perturbation=dict(type='LookSAM', interval=0)), 'interval must be a whole number of at least 1; got 0'),
        (dict(perturbation=dict(type='LookSAM', alpha=-1)), 'alpha must be a finite number of at least 0; got -1'),
        (dict(perturbation=dict(type='ESAM', beta=0)), 'beta is a share'),
        (dict(perturbation=dict(type='ESAM', gamma=2)), 'gamma is a share'),
        (dict(perturbation=dict(type='ESAM', mask='layers')), 'mask must be one of tensors, coordinates; got'),
        (dict(perturbation=dict(type='ESAM', selection='x')), 'selection must be one of forward, bfloat16, loss'),
        (dict(perturbation=dict(type='SSAMF', sparsity=1)), 'sparsity must be below 1'),
        (dict(perturbation=dict(type='SSAMF', samples=0)), 'samples must be a whole number'),
        (dict(perturbation=dict(type='SSAMD', drop_rate=0)), 'drop_rate is a share'),
        (dict(perturbation=dict(type='FisherSAM', eta=-1)), 'eta must be a finite number'),
        (dict(perturbation=dict(type='GSAM', rho=0.1, rho_min=0.2)), 'rho_min must not be above rho; got 0.2 and 0.1'),
        (dict(perturbation=dict(type='FriendlySAM', momentum=2)), 'momentum is a share'),
        (dict(perturbation=dict(type='WSAM', gamma=1)), 'gamma must be below 1'),
        (dict(perturbation=dict(type='WSAM', form='loose')), 'form must be one of decoupled, coupled'),
        (
            dict(perturbation=dict(type='LookSAM', direction=dict(type='GSAM'))),
            'LookSAM and GSAM each mix the gradients of the two passes',
        ),
        (dict(perturbation=dict(type='LookSAM', direction='ASAM')), 'direction must be a weight perturbation'),
        (dict(perturbation=dict(type='SAMON', direction=dict(type='XSAM'))), 'XSAM'),
    ],
    ids=str,
)
@pytest.mark.parametrize('kind', ['SAMOptimWrapper', 'AmpSAMOptimWrapper'])
def test_wrong_settings_are_named(kind: str, config: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_optim_wrapper(net(), dict(type=kind, optimizer=dict(SGD), **copy.deepcopy(config)))


def test_the_interval_of_a_direction_is_refused_too() -> None:
    with pytest.raises(ValueError, match='has its own interval'):
        wrap(net(), 'SAMON', dict(interval=2), direction=dict(type='LookSAM'))


def test_samon_on_a_model_without_normalisation_is_refused() -> None:
    torch.manual_seed(0)
    model = SampledNet(norm=nn.Identity()).double()
    with pytest.raises(ValueError, match='no trained weight that may move belongs to one'):
        model.train_step(plain_batches(1)[0], wrap(model, 'SAMON'))
