"""The loss of each sample averages to the model's own loss, and equals a computation by hand."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn
from torch.nn import functional as F

from samat_mm.replay.sample_losses import SampleLosses


def taken_apart(model: BaseModel, data: dict) -> tuple[Tensor | None, Tensor]:
    """Return the losses of the samples and the model's own for a preprocessed batch."""
    watched = SampleLosses()
    with watched.watch(model):
        losses = model(**data, mode='loss')
    total = model.parse_losses(losses)[0]
    return watched.per_sample(losses, total, len(data['inputs'])), total


def built(scope: str, config: dict) -> nn.Module:
    with DefaultScope.overwrite_default_scope(scope):
        return MODELS.build(config)


def assert_is(found: Tensor | None, total: Tensor, expected: Tensor) -> None:
    assert found is not None
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(found.mean(), total, rtol=1e-6, atol=0)
    assert float(found.detach().std()) > 1e-3  # the samples of these batches do differ


# mmpretrain


def classifier(training_case: Callable, **loss: Any) -> tuple[BaseModel, dict, Tensor, Tensor]:
    """Return a classifier with this loss, a preprocessed batch, and its logits and labels."""
    model, (batch,) = training_case('classifier', 1)
    model.head.loss_module = built('mmpretrain', loss)
    data = model.data_preprocessor(copy.deepcopy(batch), True)
    logits = model.head(model.extract_feat(data['inputs']))
    return model, data, logits, torch.cat([sample.gt_label for sample in data['data_samples']])


def test_cross_entropy_of_a_classifier(training_case: Callable) -> None:
    model, data, logits, labels = classifier(training_case, type='CrossEntropyLoss')
    assert_is(*taken_apart(model, data), F.cross_entropy(logits, labels, reduction='none'))


def test_weighted_cross_entropy_of_a_classifier(training_case: Callable) -> None:
    weights = [0.2, 1.0, 3.0]
    model, data, logits, labels = classifier(
        training_case, type='CrossEntropyLoss', class_weight=weights, loss_weight=0.3
    )
    expected = 0.3 * F.cross_entropy(logits, labels, weight=logits.new_tensor(weights), reduction='none')
    assert_is(*taken_apart(model, data), expected)


def test_label_smoothing_of_a_classifier(training_case: Callable) -> None:
    """Smoothed labels are single precision there, whatever the model is."""
    model, data, logits, labels = classifier(training_case, type='LabelSmoothLoss', label_smooth_val=0.1)
    expected = F.cross_entropy(logits, labels, label_smoothing=0.1, reduction='none')
    assert_is(*taken_apart(model, data), expected)


def test_focal_loss_of_a_classifier(training_case: Callable) -> None:
    model, data, logits, labels = classifier(training_case, type='FocalLoss', gamma=2.0, alpha=0.25)
    for sample, label in zip(data['data_samples'], labels, strict=True):
        sample.set_gt_score(F.one_hot(label, 3))
    positive = F.one_hot(labels, 3) == 1
    chance = logits.sigmoid()
    terms = torch.where(positive, -0.25 * (1 - chance) ** 2 * chance.log(), -0.75 * chance**2 * (1 - chance).log())
    assert_is(*taken_apart(model, data), terms.sum(1))


def test_soft_labels_of_mixup(training_case: Callable) -> None:
    from mmpretrain.models import RandomBatchAugment

    model, _, _, _ = classifier(training_case, type='CrossEntropyLoss', use_soft=True)
    model.data_preprocessor.batch_augments = RandomBatchAugment(dict(type='Mixup', alpha=1.0))
    model.data_preprocessor.to_onehot = True
    data = model.data_preprocessor(training_case('classifier', 1)[1][0], True)
    scores = torch.stack([sample.gt_score for sample in data['data_samples']])
    assert bool(((scores > 0) & (scores < 1)).any())
    logits = model.head(model.extract_feat(data['inputs']))
    assert_is(*taken_apart(model, data), -(scores * logits.log_softmax(1)).sum(1))


# mmsegmentation

IGNORED = 255


def segmentor(training_case: Callable, *losses: dict) -> tuple[BaseModel, dict, Tensor, Tensor]:
    """Return a segmentor with these losses, a preprocessed batch with ignored pixels, its resized logits and labels."""
    model, (batch,) = training_case('segmentor', 1)
    modules = [built('mmseg', loss) for loss in losses]
    model.decode_head.loss_decode = modules[0] if len(modules) == 1 else nn.ModuleList(modules)
    data = model.data_preprocessor(copy.deepcopy(batch), True)
    for index, sample in enumerate(data['data_samples']):
        sample.gt_sem_seg.data[0, : 5 * index] = IGNORED
    return model, data, resized(model.decode_head, model, data), labels_of(data)


def labels_of(data: dict) -> Tensor:
    return torch.stack([sample.gt_sem_seg.data[0] for sample in data['data_samples']])


def resized(head: nn.Module, model: BaseModel, data: dict) -> Tensor:
    logits = head(model.extract_feat(data['inputs']))
    return F.interpolate(logits, labels_of(data).shape[1:], mode='bilinear', align_corners=False)


def pixel_losses(logits: Tensor, labels: Tensor, **options: Any) -> Tensor:
    return F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction='none', **options)


def share_of(pixels: Tensor, divisor: Any) -> Tensor:
    """Sum over the pixels of an image, such that the mean over images is the sum over all pixels / divisor."""
    return pixels.sum((1, 2)) * len(pixels) / divisor


@pytest.mark.parametrize('only_labelled', [True, False])
def test_cross_entropy_of_a_segmentor_with_ignored_pixels(training_case: Callable, only_labelled: bool) -> None:
    model, data, logits, labels = segmentor(training_case, dict(type='CrossEntropyLoss', avg_non_ignore=only_labelled))
    divisor = (labels != IGNORED).sum() if only_labelled else labels.numel()
    assert_is(*taken_apart(model, data), share_of(pixel_losses(logits, labels), divisor))


def test_an_image_without_a_label_has_no_loss(training_case: Callable) -> None:
    model, data, _, _ = segmentor(training_case, dict(type='CrossEntropyLoss', avg_non_ignore=True))
    data['data_samples'][2].gt_sem_seg.data.fill_(IGNORED)
    found, total = taken_apart(model, data)
    assert [bool(loss > 0) for loss in found] == [True, True, False, True]
    torch.testing.assert_close(found.mean(), total)


def test_a_batch_without_a_label_has_no_loss(training_case: Callable) -> None:
    model, data, _, _ = segmentor(training_case, dict(type='CrossEntropyLoss', avg_non_ignore=True))
    for sample in data['data_samples']:
        sample.gt_sem_seg.data.fill_(IGNORED)
    found, total = taken_apart(model, data)
    assert float(total.detach()) == 0
    assert found.tolist() == [0] * 4


def test_class_weights_of_a_segmentor(training_case: Callable) -> None:
    weights = [0.2, 1.0, 3.0]
    model, data, logits, labels = segmentor(training_case, dict(type='CrossEntropyLoss', class_weight=weights))
    weight = logits.new_tensor(weights)
    divisor = weight[labels[labels != IGNORED]].sum()
    assert_is(*taken_apart(model, data), share_of(pixel_losses(logits, labels, weight=weight), divisor))


def test_an_auxiliary_head(training_case: Callable) -> None:
    model, data, logits, labels = segmentor(training_case, dict(type='CrossEntropyLoss'))
    model.auxiliary_head = built(
        'mmseg',
        dict(
            type='FCNHead',
            in_channels=32,
            in_index=0,
            channels=4,
            num_convs=1,
            num_classes=3,
            dropout_ratio=0,
            align_corners=False,
            loss_decode=dict(type='CrossEntropyLoss', loss_weight=0.4, avg_non_ignore=True),
        ),
    ).double()
    auxiliary = resized(model.auxiliary_head, model, data)
    expected = share_of(pixel_losses(logits, labels), labels.numel())
    expected = expected + 0.4 * share_of(pixel_losses(auxiliary, labels), (labels != IGNORED).sum())
    assert_is(*taken_apart(model, data), expected)


def dice_losses(logits: Tensor, labels: Tensor, epsilon: float = 1e-3) -> Tensor:
    """mmsegmentation's: all classes of an image are one vector; predictions at ignored pixels count."""
    chances = logits.sigmoid().flatten(1)
    truth = torch.stack([labels == index for index in range(3)], 1).flatten(1).double()
    overlap = 2 * (chances * truth).sum(1)
    return 1 - overlap / ((chances**2).sum(1) + (truth**2).sum(1) + 2 * epsilon)


def test_cross_entropy_and_dice(training_case: Callable) -> None:
    """mmsegmentation's Dice loss is one value per image, so it is a mean over samples."""
    model, data, logits, labels = segmentor(
        training_case, dict(type='CrossEntropyLoss'), dict(type='DiceLoss', loss_weight=3.0)
    )
    expected = share_of(pixel_losses(logits, labels), labels.numel()) + 3 * dice_losses(logits, labels)
    assert_is(*taken_apart(model, data), expected)


def test_two_losses_of_one_name(training_case: Callable) -> None:
    model, data, logits, labels = segmentor(
        training_case, dict(type='CrossEntropyLoss'), dict(type='CrossEntropyLoss', class_weight=[1.0, 2.0, 3.0])
    )
    weight = logits.new_tensor([1.0, 2.0, 3.0])
    expected = share_of(pixel_losses(logits, labels), labels.numel())
    expected = expected + share_of(pixel_losses(logits, labels, weight=weight), weight[labels[labels != IGNORED]].sum())
    assert_is(*taken_apart(model, data), expected)


def test_hard_pixels_only(training_case: Callable) -> None:
    """The OHEM sampler weighs the pixels with 0 or 1; the divisor stays that of all."""
    from mmseg.structures import OHEMPixelSampler

    model, data, logits, labels = segmentor(training_case, dict(type='CrossEntropyLoss'))
    model.decode_head.sampler = OHEMPixelSampler(context=model.decode_head, thresh=0.35, min_kept=10)
    weight = model.decode_head.sampler.sample(logits, labels[:, None])
    assert 0 < float(weight.mean()) < 1
    assert_is(*taken_apart(model, data), share_of(weight * pixel_losses(logits, labels), labels.numel()))


def test_pixels_sampled_by_their_loss(training_case: Callable) -> None:
    """Without a threshold the sampler also calls the loss module; that call is not part of the loss."""
    from mmseg.structures import OHEMPixelSampler

    model, data, logits, labels = segmentor(training_case, dict(type='CrossEntropyLoss'))
    model.decode_head.sampler = OHEMPixelSampler(context=model.decode_head, min_kept=50)
    weight = model.decode_head.sampler.sample(logits, labels[:, None])
    assert_is(*taken_apart(model, data), share_of(weight * pixel_losses(logits, labels), labels.numel()))


def test_a_loss_that_has_no_value_per_image_gives_none(training_case: Callable) -> None:
    """Tversky's sums over the batch before it divides."""
    model, data, _, _ = segmentor(training_case, dict(type='CrossEntropyLoss'), dict(type='TverskyLoss'))
    assert taken_apart(model, data)[0] is None


# Models of one's own


class Net(BaseModel):
    """A linear layer under whatever loss a test writes."""

    def __init__(self, losses: Callable[[Any, Tensor, Tensor], dict], **modules: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(4, 3)
        self.losses = losses
        for name, module in modules.items():
            self.add_module(name, module)
        self.double()

    def forward(self, inputs: Tensor, labels: Tensor, mode: str = 'loss') -> dict:
        return self.losses(self, self.linear(inputs), labels)


def batch(size: int = 5) -> dict:
    numbers = torch.Generator().manual_seed(1)
    return {
        'inputs': torch.randn(size, 4, generator=numbers, dtype=torch.float64),
        'labels': torch.tensor([0, 2, 1, 1, 0, 2, 2][:size]),
    }


def each(model: Net, data: dict, **options: Any) -> Tensor:
    return F.cross_entropy(model.linear(data['inputs']), data['labels'], reduction='none', **options)


def test_a_loss_module_of_torch() -> None:
    model, data = Net(lambda self, x, y: {'loss': self.criterion(x, y)}, criterion=nn.CrossEntropyLoss()), batch()
    assert_is(*taken_apart(model, data), each(model, data))
    assert model.criterion.reduction == 'mean'


def test_a_loss_module_of_torch_with_everything() -> None:
    weight = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
    criterion = nn.CrossEntropyLoss(weight=weight, ignore_index=1, label_smoothing=0)
    model, data = Net(lambda self, x, y: {'loss': self.criterion(x, y)}, criterion=criterion), batch()
    losses = each(model, data, weight=weight, ignore_index=1)
    divisor = weight[data['labels'][data['labels'] != 1]].sum()
    assert_is(*taken_apart(model, data), losses * 5 / divisor)


def test_unreduced_losses_count_as_they_are() -> None:
    def losses(self: Net, logits: Tensor, labels: Tensor) -> dict:
        one = F.cross_entropy(logits, labels, reduction='none')
        return {'loss_ce': one, 'loss_l2': [logits.square(), one * 0.5], 'accuracy': labels.double()}

    model, data = Net(losses), batch()
    expected = 1.5 * each(model, data) + model.linear(data['inputs']).square().mean(1)
    assert_is(*taken_apart(model, data), expected)


def test_unreduced_losses_beside_a_loss_module() -> None:
    model = Net(
        lambda self, x, y: {'loss_ce': self.criterion(x, y), 'loss_l2': x.square()}, criterion=nn.CrossEntropyLoss()
    )
    data = batch()
    expected = each(model, data) + model.linear(data['inputs']).square().mean(1)
    assert_is(*taken_apart(model, data), expected)


UNKNOWN: dict[str, Callable[[], Net]] = {
    'a function': lambda: Net(lambda self, x, y: {'loss': F.cross_entropy(x, y)}),
    'a function beside a module': lambda: Net(
        lambda self, x, y: {'loss_ce': self.criterion(x, y), 'loss_l2': x.square().mean()},
        criterion=nn.CrossEntropyLoss(),
    ),
    'a module scaled by hand': lambda: Net(
        lambda self, x, y: {'loss': self.criterion(x, y) * 0.5}, criterion=nn.CrossEntropyLoss()
    ),
    'a sum divided by hand': lambda: Net(
        lambda self, x, y: {'loss': self.criterion(x, y) / (y > 0).sum()},
        criterion=nn.CrossEntropyLoss(reduction='sum'),
    ),
    'values divided by hand': lambda: Net(
        lambda self, x, y: {'loss': self.criterion(x, y).sum() / (y > 0).sum()},
        criterion=nn.CrossEntropyLoss(reduction='none'),
    ),
    'positives only': lambda: Net(
        lambda self, x, y: {'loss': self.criterion(x, y), 'loss_box': self.box(x[y > 0], 0 * x[y > 0])},
        criterion=nn.CrossEntropyLoss(),
        box=nn.L1Loss(),
    ),
    'anchors': lambda: Net(
        lambda self, x, y: {'loss': self.criterion(torch.cat([x, 2 * x]), torch.cat([y, y]))},
        criterion=nn.CrossEntropyLoss(),
    ),
    'a second call that is not part of the loss': lambda: Net(
        lambda self, x, y: {'loss': self.criterion(x, y), 'shown': self.criterion(2 * x, y)},
        criterion=nn.CrossEntropyLoss(),
    ),
    'not a number': lambda: Net(
        lambda self, x, y: {'loss': self.criterion(x * torch.nan, y)}, criterion=nn.CrossEntropyLoss()
    ),
}


def test_an_infinite_loss_gives_none() -> None:
    model = Net(lambda self, x, y: {'loss': self.criterion(x, y) * torch.inf}, criterion=nn.CrossEntropyLoss())
    assert taken_apart(model, batch())[0] is None


@pytest.mark.parametrize('kind', UNKNOWN)
def test_a_loss_of_another_form_gives_none(kind: str) -> None:
    """Never a wrong value: what cannot be taken apart is known from the sum."""
    found, _ = taken_apart(UNKNOWN[kind](), batch())
    assert found is None


def test_a_sum_over_the_batch_is_a_mean_of_larger_losses() -> None:
    model = Net(lambda self, x, y: {'loss': self.criterion(x, y)}, criterion=nn.CrossEntropyLoss(reduction='sum'))
    data = batch()
    assert_is(*taken_apart(model, data), 5 * each(model, data))


# The way there


@pytest.mark.parametrize('kind', ['segmentor', 'classifier'])
def test_the_mean_has_the_gradient_of_the_loss(training_case: Callable, kind: str) -> None:
    model, (raw,) = training_case(kind, 1)
    found, total = taken_apart(model, model.data_preprocessor(copy.deepcopy(raw), True))
    wanted = torch.autograd.grad(total, list(model.parameters()), retain_graph=True)
    for one, other in zip(torch.autograd.grad(found.mean(), list(model.parameters())), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_reduced_precision_is_near_enough(training_case: Callable) -> None:
    model, (raw,) = training_case('classifier', 1)
    model.float()
    data = model.data_preprocessor(copy.deepcopy(raw), True)
    with torch.no_grad(), torch.autocast('cpu', dtype=torch.bfloat16):
        found, total = taken_apart(model, data)
    assert float(found.mean()) == pytest.approx(float(total), rel=1e-3)


@pytest.mark.parametrize('fails', [False, True])
def test_nothing_is_left_behind(training_case: Callable, fails: bool) -> None:
    model, (raw,) = training_case('segmentor', 1)
    state = copy.deepcopy(model.state_dict())
    attributes = dict(vars(model.decode_head.loss_decode))
    watched = SampleLosses()
    data = model.data_preprocessor(copy.deepcopy(raw), True)
    if fails:
        with pytest.raises(ArithmeticError), watched.watch(model):
            raise ArithmeticError
    else:
        model.eval()
        taken_apart(model, data)
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.modules())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert dict(vars(model.decode_head.loss_decode)) | {'training': True} == attributes


def test_a_second_forward_starts_afresh() -> None:
    model = Net(lambda self, x, y: {'loss': self.criterion(x, y)}, criterion=nn.CrossEntropyLoss())
    data, watched = batch(), SampleLosses()
    for _ in range(2):  # the first is thrown away, as that of a step that failed is
        with watched.watch(model):
            losses = model(**data)
    assert_is(watched.per_sample(losses, losses['loss'], 5), losses['loss'], each(model, data))
