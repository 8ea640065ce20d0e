"""The differentiated function: from pixels in [0, 1] to the very logits that are scored."""

import numpy as np
import pytest
import torch
from helpers import (
    CLASSES,
    MEAN,
    STD,
    classification_sample,
    classifier,
    images,
    labels,
    raw_images,
    segmentation_sample,
    segmentor,
)
from mmengine.model import BaseModel, ImgDataPreprocessor
from torch import nn
from torch.nn import functional as F

from samat_mm.perturbations.inputs import FGSM, PGD
from samat_mm.pixels.pixel_space import PixelSpace, image_sizes
from samat_mm.tasks import task_of


class Asking:
    """In the place of an attack: keeps ``predict`` and ``target``, and returns changed pixels."""

    def __init__(self, output='logits'):
        self.objective = type('objective', (), {'output': output})

    def __call__(self, predict, inputs, target, *, indices, sizes, box):
        self.target, self.pixels, self.sizes = target, inputs, sizes
        self.output = predict(inputs.clone().requires_grad_())
        return inputs


def space_of(model, raw, samples, *, training=False):
    """A preprocessed batch as the hooks see it."""
    data = model.data_preprocessor({'inputs': raw, 'data_samples': samples}, training)
    return PixelSpace(model, raw, data['inputs'], data['data_samples'])


def ask(space, *, training=False, output='logits'):
    asking = Asking(output)
    space.attack(asking, range(len(space.sizes)), training=training)
    return asking


def label_maps(count, height, width):
    return [labels(height, width, classes=CLASSES, seed=index) for index in range(count)]


def segmentation_batch(count=2, height=32, width=32, **metainfo):
    samples = [segmentation_sample(label, **metainfo) for label in label_maps(count, height, width)]
    return raw_images(count, height, width), samples


def classification_batch(count=3, size=16):
    return raw_images(count, size, size), [classification_sample(index) for index in range(count)]


# --------------------------------------------------------------------------------------------------- pixels


@pytest.mark.parametrize('build, batch', [(segmentor, segmentation_batch), (classifier, classification_batch)])
def test_pixels_are_the_raw_image_divided_by_255_in_rgb(build, batch):
    """Images are loaded as BGR; the model's input is RGB."""
    raw, samples = batch()
    space = space_of(build(), raw, samples)
    expected = torch.stack([image.flip(0).float() / 255 for image in raw])
    torch.testing.assert_close(space.pixels, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize('build, batch', [(segmentor, segmentation_batch), (classifier, classification_batch)])
def test_unchanged_pixels_are_the_models_input_to_the_bit(build, batch):
    space = space_of(build(), *batch())
    assert torch.equal(space.to_inputs(space.pixels.clone()), space.inputs)


@pytest.mark.parametrize('build, batch', [(segmentor, segmentation_batch), (classifier, classification_batch)])
def test_changed_pixels_are_normalised_as_the_preprocessor_does_it(build, batch):
    """Preprocessing the changed image itself gives the same input."""
    model = build()
    raw, samples = batch()
    space = space_of(model, raw, samples)
    changed = images(*space.pixels.shape, seed=9)
    as_raw = [(255 * image).flip(0) for image in changed]
    expected = model.data_preprocessor({'inputs': as_raw, 'data_samples': samples}, False)['inputs']
    torch.testing.assert_close(space.to_inputs(changed), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize('collated', ['list', 'tensor'])
def test_a_classifier_without_normalisation(collated):
    """8-bit images count as 0..255 and floating point images as 0..1."""
    model = classifier()
    preprocessor = model.data_preprocessor
    preprocessor._enable_normalize = False
    raw, samples = classification_batch()
    for images_given, expected in (
        (raw, [image.float() / 255 for image in raw]),
        ([image.float() / 255 for image in raw], [image.float() / 255 for image in raw]),
    ):
        given = torch.stack(images_given) if collated == 'tensor' else images_given
        space = space_of(model, given, samples)
        torch.testing.assert_close(space.pixels, torch.stack(expected).flip(1), rtol=0, atol=1e-6)
        assert torch.equal(space.to_inputs(space.pixels), space.inputs)


def test_statistics_in_units_of_0_to_1():
    """Some data sets give floating point images in 0..1 and statistics to match."""
    model = classifier({'mean': [0.485, 0.456, 0.406], 'std': [0.229, 0.224, 0.225]})
    raw, samples = classification_batch()
    raw = [image.float() / 255 for image in raw]
    space = space_of(model, raw, samples)
    torch.testing.assert_close(space.pixels, torch.stack(raw).flip(1), rtol=0, atol=1e-6)


def test_8_bit_images_that_are_only_shifted_or_not_changed_at_all():
    """mean 0 and std 1 say nothing about the range; that the images are 8-bit does."""
    model = classifier({'mean': [0.0, 0.0, 0.0], 'std': [1.0, 1.0, 1.0]})
    raw, samples = classification_batch()
    space = space_of(model, raw, samples)
    torch.testing.assert_close(space.pixels, torch.stack(raw).flip(1) / 255, rtol=0, atol=1e-6)


@pytest.mark.parametrize('factor', [1 / 255, 5.0])
def test_images_outside_the_range_of_the_statistics_are_refused(factor):
    """Normalised twice, or divided by 255 before a normalisation meant for 0..255."""
    model = classifier()
    raw, samples = classification_batch()
    raw = [image.float() * factor for image in raw]
    if factor < 1:
        model.data_preprocessor.mean, model.data_preprocessor.std = torch.zeros(3, 1, 1), torch.full((3, 1, 1), 0.5)
        raw = [image * 255 for image in raw]
    with pytest.raises(ValueError, match=r'imply 0\.\.(1|255), but these reach from 0 to'):
        space_of(model, raw, samples)


# ------------------------------------------------------------------------------------- padding when testing


@pytest.mark.parametrize('padding', [{'size': (48, 40)}, {'size_divisor': 16}], ids=str)
@pytest.mark.parametrize('pad_val', [0, 7])
def test_test_time_padding_has_no_pixels_and_stays_as_it_is(padding, pad_val):
    model = segmentor({'test_cfg': padding, 'pad_val': pad_val})
    raw, samples = segmentation_batch(2, 33, 30)
    space = space_of(model, raw, samples)
    assert tuple(space.inputs.shape[2:]) == {'size': (48, 40), 'size_divisor': (48, 32)}[next(iter(padding))]
    assert space.sizes == [(33, 30), (33, 30)]
    pixels = space.attack(PGD('linf', '8/255', steps=2), [0, 1])
    attacked = space.to_inputs(pixels)
    assert float((attacked - space.inputs)[:, :, :33, :30].abs().min()) >= 0
    assert not torch.equal(attacked[:, :, :33, :30], space.inputs[:, :, :33, :30])
    assert torch.equal(attacked[:, :, 33:], space.inputs[:, :, 33:])
    assert torch.equal(attacked[:, :, :, 30:], space.inputs[:, :, :, 30:])
    assert bool((space.inputs[:, :, 33:] == pad_val).all())
    changed = (pixels - space.pixels)[:, :, :33, :30].abs().amax()
    assert float(changed) <= 8 / 255 * (1 + 1e-5)


# ------------------------------------------------------------------------------------------ the scored function


SCORED = {
    'whole': {},
    'padded': {'preprocessor': {'test_cfg': {'size_divisor': 16}}},
    'slide': {'test_cfg': {'mode': 'slide', 'crop_size': (16, 16), 'stride': (12, 12)}},
}


@pytest.mark.parametrize('mode', SCORED)
@pytest.mark.parametrize('native', [(24, 40), (50, 61)], ids=['as is', 'resized'])
def test_the_logits_are_those_that_predict_scores_at_the_labels_native_size(mode, native):
    """The image is at the network's size, the label at the file's."""
    model = segmentor(**SCORED[mode])
    raw = raw_images(2, 24, 40)
    samples = [segmentation_sample(label, img_shape=(24, 40)) for label in label_maps(2, *native)]
    asked = ask(space_of(model, raw, samples))
    with torch.no_grad():
        results = model.test_step({'inputs': raw, 'data_samples': [sample.clone() for sample in samples]})
    expected = torch.stack([result.seg_logits.data for result in results])
    assert asked.output.shape == (2, CLASSES, *native)
    assert torch.equal(asked.output, expected)
    assert torch.equal(asked.target, torch.stack(label_maps(2, *native)))


def test_labels_of_different_native_sizes_are_padded_with_unlabelled_pixels():
    model = segmentor()
    raw = raw_images(2, 32, 32)
    maps = [labels(20, 30, classes=CLASSES), labels(40, 24, classes=CLASSES)]
    asked = ask(space_of(model, raw, [segmentation_sample(label, img_shape=(32, 32)) for label in maps]))
    assert asked.output.shape == (2, CLASSES, 40, 30)
    assert torch.equal(asked.target[0, :20], maps[0])
    assert torch.equal(asked.target[1, :, :24], maps[1])
    assert bool((asked.target[0, 20:] == 255).all())
    assert bool((asked.target[1, :, 24:] == 255).all())


def test_the_heads_own_ignored_label_is_ignored():
    model = segmentor(**{'decode_head.ignore_index': 2})
    raw, samples = segmentation_batch(1)
    asked = ask(space_of(model, raw, samples))
    original = samples[0].gt_sem_seg.data
    assert torch.equal(asked.target == 255, original == 2)


def scored_loss(model, raw_pixels, sample):
    """The cross-entropy of the prediction for one image of raw pixels, from the model's own test step."""
    with torch.no_grad():
        (result,) = model.test_step({'inputs': [raw_pixels], 'data_samples': [sample.clone()]})
    return float(F.cross_entropy(result.seg_logits.data[None].double(), sample.gt_sem_seg.data, ignore_index=255))


@pytest.mark.parametrize('mode', SCORED)
def test_the_gradient_is_that_of_the_scored_loss(mode):
    """Finite differences along random directions of raw pixels; double precision."""
    model = segmentor(**SCORED[mode]).double()
    model.data_preprocessor.to(torch.float64)
    model.data_preprocessor.forward = in_double(model.data_preprocessor)
    raw = (200 * images(1, 3, 24, 24).double() + 20)[0]
    label = labels(36, 30, classes=CLASSES)
    label[:5] = 255
    sample = segmentation_sample(label, img_shape=(24, 24))
    space = space_of(model, [raw], [sample.clone()])
    assert space.inputs.dtype == torch.float64
    gradient = []

    class Gradient(Asking):
        def __call__(self, predict, inputs, target, **_):
            pixels = inputs.clone().requires_grad_()
            loss = F.cross_entropy(predict(pixels), target, ignore_index=255)
            gradient.extend(torch.autograd.grad(loss, pixels))
            return inputs

    space.attack(Gradient(), [0])
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        direction = torch.randn(3, 24, 24, generator=generator, dtype=torch.float64)  # of RGB pixels in 0..1
        step = 1e-6
        higher, lower = (scored_loss(model, raw + sign * step * 255 * direction.flip(0), sample) for sign in (1, -1))
        expected = float((gradient[0][0, :, :24, :24] * direction).sum())
        assert (higher - lower) / (2 * step) == pytest.approx(expected, rel=1e-4, abs=1e-8)


def in_double(preprocessor):
    """The preprocessor without its rounding to single precision."""
    from mmseg.utils import stack_batch

    def forward(data, training=False):
        inputs = [(image.flip(0).double() - preprocessor.mean) / preprocessor.std for image in data['inputs']]
        if preprocessor.test_cfg:
            inputs, padding = stack_batch(inputs, pad_val=preprocessor.pad_val, **preprocessor.test_cfg)
            for sample, entry in zip(data['data_samples'], padding, strict=True):
                sample.set_metainfo(entry)
        else:
            inputs = torch.stack(inputs)
        return {'inputs': inputs, 'data_samples': data['data_samples']}

    return forward


def test_a_binary_head_with_one_channel():
    """predict thresholds a sigmoid; its two-class cross-entropy is the binary one."""
    changes = {'decode_head.num_classes': 2, 'decode_head.out_channels': 1, 'decode_head.threshold': 0.5}
    model = segmentor(**changes, **{'decode_head.loss_decode.use_sigmoid': True})
    raw = raw_images(2, 32, 32)
    maps = [labels(32, 32, classes=2, seed=seed) for seed in range(2)]
    space = space_of(model, raw, [segmentation_sample(label) for label in maps])
    asked = ask(space)
    with torch.no_grad():
        score = F.interpolate(model.forward(space.inputs, mode='tensor'), (32, 32), mode='bilinear')[:, 0]
    ours = F.cross_entropy(asked.output, asked.target, reduction='none')
    theirs = F.binary_cross_entropy_with_logits(score, torch.stack(maps).float(), reduction='none')
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_a_classifiers_logits_are_those_before_the_softmax():
    model = classifier()
    raw, samples = classification_batch()
    asked = ask(space_of(model, raw, samples))
    with torch.no_grad():
        results = model.test_step({'inputs': raw, 'data_samples': samples})
    expected = torch.stack([result.pred_score for result in results])
    torch.testing.assert_close(asked.output.softmax(1), expected)
    assert asked.target.tolist() == [0, 1, 2]


# ---------------------------------------------------------------------------------------------- training


def test_in_training_the_logits_are_the_heads_output_at_the_crops_size():
    """A flipped, cropped and padded sample still carries the file's geometry; the label is the crop's."""
    model = segmentor()
    maps = label_maps(2, 28, 30)
    geometry = {'ori_shape': (375, 500), 'img_shape': (28, 30), 'flip': True, 'flip_direction': 'horizontal'}
    samples = [segmentation_sample(label, **geometry) for label in maps]
    space = space_of(model, raw_images(2, 28, 30), samples, training=True)
    asked = ask(space, training=True)
    with torch.no_grad():
        head = model.forward(space.inputs, mode='tensor')
    assert space.inputs.shape[2:] == (32, 32)
    torch.testing.assert_close(asked.output, F.interpolate(head, (32, 32), mode='bilinear', align_corners=False))
    assert torch.equal(asked.target[:, :28, :30], torch.stack(maps))
    assert bool((asked.target[:, 28:] == 255).all())
    assert bool((asked.target[:, :, 30:] == 255).all())
    assert space.samples[0].metainfo['flip'] is True  # what belongs to the data set is not rewritten
    assert tuple(space.samples[0].metainfo['ori_shape']) == (375, 500)


def test_in_training_crops_of_different_sizes_keep_their_own_padding():
    model = segmentor()
    raw = [raw_images(1, 20, 32)[0], raw_images(1, 32, 25)[0]]
    samples = [segmentation_sample(labels(*image.shape[1:], classes=CLASSES)) for image in raw]
    space = space_of(model, raw, samples, training=True)
    assert space.sizes == [(20, 32), (32, 25)]
    moved = (space.attack(PGD('l2', 0.5, steps=2), [0, 1], training=True) - space.pixels).abs().amax(1) > 0
    assert bool(moved[0, :20].any())
    assert not bool(moved[0, 20:].any())
    assert bool(moved[1, :, :25].any())
    assert not bool(moved[1, :, 25:].any())


def test_mixed_images_are_attacked_with_their_mixed_labels():
    """Batch augmentation happens in the preprocessor: the attack starts from its output."""
    model = classifier({'batch_augments': {'augments': [{'type': 'Mixup', 'alpha': 1.0}]}})
    raw, samples = classification_batch()
    torch.manual_seed(1)  # of the pairing
    np.random.seed(0)  # of the share
    space = space_of(model, raw, samples, training=True)
    asked = ask(space, training=True)
    assert asked.target.shape == (3, CLASSES)
    torch.testing.assert_close(asked.target.sum(1), torch.ones(3))
    assert 0 < float(asked.target.max(1).values.min()) < 1  # truly mixed
    plain = torch.stack(raw).flip(1) / 255
    weights = asked.target[:, :3]  # of the images, whose labels are 0, 1 and 2
    torch.testing.assert_close(space.pixels, torch.einsum('nm,mchw->nchw', weights, plain), rtol=0, atol=1e-5)
    adversarial = space.attack(PGD('linf', '8/255', steps=3), range(3), training=True)
    with torch.no_grad():
        before, after = (
            F.cross_entropy(model.forward(space.to_inputs(pixels)), asked.target)
            for pixels in (space.pixels, adversarial)
        )
    assert float(after) > float(before)


# ------------------------------------------------------------------------------------------- left as found


def modes_of(model):
    return [module.training for module in model.modules()]


@pytest.mark.parametrize('fails', [False, True])
@pytest.mark.parametrize('build, batch', [(segmentor, segmentation_batch), (classifier, classification_batch)])
def test_the_model_is_left_as_it_was_found_also_after_an_error(build, batch, fails):
    model = build().train()
    next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d)).eval()  # a frozen layer
    first, second, *_ = model.parameters()
    first.requires_grad_(False)
    second.grad = torch.ones_like(second)
    modes, state = modes_of(model), {key: value.clone() for key, value in model.state_dict().items()}
    trainable = [parameter.requires_grad for parameter in model.parameters()]
    space = space_of(model, *batch())
    seen = []

    class Watching(Asking):
        def __call__(self, predict, inputs, target, **_):
            predict(inputs)
            seen.append((any(modes_of(model)), any(parameter.requires_grad for parameter in model.parameters())))
            if fails:
                raise FloatingPointError('no')
            return inputs

    if fails:
        with pytest.raises(FloatingPointError, match=r'no'):
            space.attack(Watching(), [0, 1])
    else:
        space.attack(Watching(), [0, 1])
    assert seen == [(False, False)]  # evaluation mode and no gradients of weights while crafting
    assert modes_of(model) == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == trainable
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    assert torch.equal(second.grad, torch.ones_like(second))
    assert first.grad is None


def test_predictions_do_not_enter_the_data_samples():
    raw, samples = segmentation_batch()
    space = space_of(segmentor(), raw, samples)
    space.attack(FGSM(), [0, 1])
    assert all('pred_sem_seg' not in sample and 'seg_logits' not in sample for sample in samples)


# ------------------------------------------------------------------------------------------- other models


class DetectorLike(BaseModel):
    """Several losses, lists among them, and labels of a kind that no task knows."""

    def __init__(self):
        super().__init__(ImgDataPreprocessor(MEAN, STD, bgr_to_rgb=True, pad_size_divisor=8))
        torch.manual_seed(0)
        self.convolution = nn.Conv2d(3, 4, 3)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        features = self.convolution(inputs).mean((2, 3))
        if mode != 'loss':
            return features
        wanted = torch.stack([sample.boxes for sample in data_samples])
        return {
            'loss_box': (features - wanted).square().mean(),
            'loss_levels': [features.abs().mean(), 0.5 * features.square().mean()],
            'accuracy': features.mean(),  # logged, not minimised
        }


def detection_batch():
    from mmengine.structures import BaseDataElement

    samples = [BaseDataElement() for _ in range(2)]
    for sample in samples:
        sample.boxes = torch.ones(4)
    return raw_images(2, 16, 16), samples


def test_the_models_own_loss_can_be_attacked_for_a_model_of_any_kind():
    model = DetectorLike()
    space = space_of(model, *detection_batch())

    def training_loss(pixels):
        with torch.no_grad():
            losses = model.forward(space.to_inputs(pixels), space.samples, mode='loss')
        return float(losses['loss_box'] + sum(losses['loss_levels']))

    asked = ask(space, output='loss')
    assert float(asked.output) == pytest.approx(training_loss(space.pixels), rel=1e-6)
    assert asked.target is None
    adversarial = space.attack(PGD('linf', '4/255', steps=5, objective='model-loss'), [0, 1])
    assert training_loss(adversarial) > training_loss(space.pixels)
    assert float((adversarial - space.pixels).abs().max()) <= 4 / 255 * (1 + 1e-5)


def test_cross_entropy_on_such_a_model_is_one_clear_error():
    space = space_of(DetectorLike(), *detection_batch())
    with pytest.raises(ValueError, match=r"DetectorLike .* neither gt_sem_seg nor gt_label.*objective='model-loss'"):
        space.attack(PGD(), [0, 1])


def test_the_models_own_loss_without_labels_to_compute_it_from_is_one_clear_error():
    """A test set without annotations: mmpretrain's head cannot compute a loss."""
    from mmpretrain.structures import DataSample

    model = classifier()
    raw = raw_images(2, 16, 16)
    space = space_of(model, raw, [DataSample(), DataSample()])
    with pytest.raises(ValueError, match=r'needs labels, but the samples have none'):
        space.attack(PGD(), [0, 1])


def test_a_loss_that_does_not_depend_on_the_input_is_one_clear_error():
    class Constant(DetectorLike):
        def forward(self, inputs, data_samples=None, mode='tensor'):
            return {'loss': inputs.new_ones(())}

    space = space_of(Constant(), *detection_batch())
    with pytest.raises(ValueError, match=r'Constant has no training loss that depends on its input'):
        space.attack(PGD(objective='model-loss'), [0, 1])


def test_several_labels_per_image_are_one_clear_error():
    from mmpretrain.structures import DataSample

    space = space_of(classifier(), raw_images(1, 16, 16), [DataSample().set_gt_label([0, 2])])
    with pytest.raises(ValueError, match=r"one label per image.*objective='model-loss'"):
        space.attack(PGD(), [0])


def test_the_task_is_read_off_the_labels():
    model = classifier()
    assert type(task_of(model, [classification_sample(1)])).__name__ == 'Classification'
    assert type(task_of(model, [segmentation_sample(labels(4, 4, classes=2))])).__name__ == 'Segmentation'
    for nothing in ([], None):
        with pytest.raises(ValueError, match=r'ImageClassifier'):
            task_of(model, nothing).fitted(PGD())


def test_sentences_are_no_images_and_the_error_says_how_to_test_them():
    with pytest.raises(
        TypeError, match=r'needs images \(C, H, W\); got an input of shape \(37,\)\. .*TextAttackTestLoop'
    ):
        image_sizes([torch.zeros(37)], torch.zeros(1, 37))
