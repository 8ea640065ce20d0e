"""Pictures that show what happened: the images, the amplified difference, the maps and the IoU of each class."""

import numpy as np
import pytest
import torch
from helpers import ClassificationImages, SegmentationImages, classifier, loader, segmentation_sample, segmentor
from mmengine.structures import BaseDataElement, PixelData
from PIL import Image

from samat_mm.pixels.pixel_space import PixelSpace
from samat_mm.tasks import Segmentation
from samat_mm.visualization.iou_bars import ATTACKED_COLOUR, CLEAN_COLOUR, draw_iou_bars, image_ious
from samat_mm.visualization.lettering import font, shorten
from samat_mm.visualization.panels import panel_rows, save_panels
from samat_mm.visualization.strips import save_figure

PALETTE = [[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]]
LONG_NAME = 'Cardigan, Cardigan Welsh corgi, which is a name of ImageNet'


def attacked_batch(model, data, change):
    """The space, changed pixels, and the predictions before and after, of a data set as one batch."""
    (batch,) = loader(data, len(data))
    prepared = model.data_preprocessor(batch, False)
    space = PixelSpace(model, batch['inputs'], prepared['inputs'], prepared['data_samples'])
    pixels = (space.pixels + change).clamp(0, 1)
    with torch.no_grad():
        clean, attacked = (
            model(inputs, [sample.new() for sample in prepared['data_samples']], mode='predict')
            for inputs in (prepared['inputs'], space.to_inputs(pixels))
        )
    return space, pixels, clean, attacked, data.metainfo


# ----------------------------------------------------------------------------------------------------- panels


def test_a_segmentor_gets_images_difference_maps_and_bars():
    data = SegmentationImages(2)
    space, pixels, clean, attacked, meta = attacked_batch(segmentor(), data, 0.24 * torch.eye(32))
    rows = panel_rows(space, pixels, clean, attacked, meta)
    assert [name for name, _ in rows] == ['image0', 'image1']
    titles = [title for title, _ in rows[0][1]]
    assert titles == [
        'clean image',
        'adversarial image',
        'difference x2',
        'label',
        'clean prediction',
        'prediction under attack',
        'IoU in this image, largest drop first',
    ]
    image, adversarial, difference, label, before, after, _ = (picture for _, picture in rows[1][1])
    rgb = data.raw[1].flip(0).permute(1, 2, 0).numpy() / 255  # the data set is in BGR
    np.testing.assert_allclose(image, rgb, atol=1e-5)
    np.testing.assert_allclose(adversarial - image, (difference - 0.5) / 2, atol=1e-5)
    assert (label[:2] == 235).all()  # ignored
    np.testing.assert_array_equal(label[2:], np.array(PALETTE)[data.labels[1][2:].numpy()])
    np.testing.assert_array_equal(before, np.array(PALETTE)[clean[1].pred_sem_seg.data[0].numpy()])
    np.testing.assert_array_equal(after, np.array(PALETTE)[attacked[1].pred_sem_seg.data[0].numpy()])
    assert (before != after).any()


def test_a_classifier_has_the_classes_in_the_titles():
    data = ClassificationImages(3)
    space, pixels, clean, attacked, meta = attacked_batch(classifier(), data, 0.2 * torch.rand(3, 32, 32))
    for index, (_, panels) in enumerate(panel_rows(space, pixels, clean, attacked, meta)):
        label, before, after = (
            'abcd'[int(value)] for value in (data.labels[index], clean[index].pred_label, attacked[index].pred_label)
        )
        assert [title for title, _ in panels][:2] == [f'label: {label}\nclean: {before}', f'under attack: {after}']
        assert len(panels) == 3


def test_a_model_that_is_neither_still_has_its_images():
    space, pixels, _, _, meta = attacked_batch(segmentor(), SegmentationImages(1), 0.09)
    unknown = [BaseDataElement(metainfo={'img_path': 'folder/a.jpg'})]
    ((name, panels),) = panel_rows(space, pixels, unknown, unknown, meta)
    assert name == 'a'
    assert [title for title, _ in panels] == ['clean image', 'adversarial image', 'difference x5']


def test_no_difference_is_not_amplified_rounding():
    space, pixels, clean, attacked, meta = attacked_batch(segmentor(), SegmentationImages(1), 1e-7)
    title, picture = panel_rows(space, pixels, clean, attacked, meta)[0][1][2]
    assert title == 'no difference'
    assert (picture == 0.5).all()


def test_the_difference_is_amplified_by_the_largest_whole_factor_that_does_not_saturate():
    space, pixels, clean, attacked, meta = attacked_batch(segmentor(), SegmentationImages(1), 8 / 255)
    title, picture = panel_rows(space, pixels, clean, attacked, meta)[0][1][2]
    assert title == 'difference x15'  # 15 * 8 / 255 = 0.47, 16 * 8 / 255 = 0.502
    assert picture.max() == pytest.approx(0.5 + 15 * 8 / 255, abs=1e-4)


@pytest.mark.parametrize(('build', 'data'), [(segmentor, SegmentationImages), (classifier, ClassificationImages)])
def test_one_file_per_image_by_its_number_in_the_data_set(build, data, tmp_path):
    paths = save_panels(tmp_path / 'pgd', [7, 123], *attacked_batch(build(), data(2), 0.2))
    assert [path.name for path in paths] == ['000007-image0.png', '000123-image1.png']
    for path in paths:
        with Image.open(path) as picture:
            assert picture.width > 3 * 320 - 10
            assert np.asarray(picture).std() > 10


# ----------------------------------------------------------------------------------------------------- figures


def test_a_small_picture_is_enlarged_by_a_whole_factor_without_smoothing(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    save_figure([('', [('title', picture)])], tmp_path / 'figure.png')
    figure = np.asarray(Image.open(tmp_path / 'figure.png'))
    shown = np.kron(picture, np.ones((6, 6, 1), dtype=np.uint8))  # 6 * 48 <= 320
    np.testing.assert_array_equal(figure[-8 - 6 * 32 : -8, 8 : 8 + 6 * 48], shown)


def test_a_large_picture_is_scaled_down_with_its_aspect(tmp_path):
    save_figure([('name', [('title', np.zeros((1000, 2000, 3)))])], tmp_path / 'figure.png')
    black = (np.asarray(Image.open(tmp_path / 'figure.png')) == 0).all(axis=2)
    assert black.any(axis=0).sum() == 320
    assert black[:, 200].sum() == 160


def test_values_are_rounded_to_8_bits_not_cut_off(tmp_path):
    save_figure([('', [('', np.full((8, 8, 3), 99.6 / 255))])], tmp_path / 'figure.png')
    assert (np.asarray(Image.open(tmp_path / 'figure.png'))[-20, 20] == 100).all()


@pytest.mark.parametrize('suffix', ['jpg', 'pdf'])
def test_the_format_follows_the_suffix(suffix, tmp_path):
    path = tmp_path / 'new' / f'figure.{suffix}'
    save_figure([('a', [('b', np.zeros((8, 8, 3)))]), ('', [('b', np.zeros((4, 8, 3)))])], path)
    assert path.read_bytes()[:4] == {'jpg': b'\xff\xd8\xff\xe0', 'pdf': b'%PDF'}[suffix]


@pytest.mark.parametrize('text', ['', 'cat', LONG_NAME, 'Straße é → 猫'])
def test_a_text_fits_its_width(text):
    shown = shorten(text, 100)
    assert font().getlength(shown) <= 100 + font().getlength('…')
    assert shown == text or (shown.endswith('…') and text.startswith(shown[:-1]))


# --------------------------------------------------------------------------------------------------------- IoU


def test_the_iou_of_an_image_by_its_definition():
    ious = image_ious([(0, 3, 4), (2, 0, 5)], 4)
    assert ious[[0, 2]].tolist() == [0.75, 0]  # the second appears where it is not
    assert np.isnan(ious[[1, 3]]).all()


def test_bars_are_as_long_as_the_ious_and_the_largest_drop_is_first():
    nan = float('nan')
    clean, attacked = np.array([1.0, 0.8, nan, 0.5]), np.array([0.9, 0.2, nan, 0.0])
    picture = draw_iou_bars(clean, attacked, 'abcd', PALETTE, (240, 600))
    assert picture.shape == (240, 600, 3)

    def lengths(colour):
        rows = (picture[:, 204:] == colour).all(axis=2)[:72].sum(axis=1)
        return [int(rows[start : start + 24].max()) for start in (0, 24, 48)]

    full = lengths(CLEAN_COLOUR)[2]
    assert np.array(lengths(CLEAN_COLOUR)) / full == pytest.approx([0.8, 0.5, 1.0], abs=0.01)  # b, d, a
    assert np.array(lengths(ATTACKED_COLOUR)) / full == pytest.approx([0.2, 0.0, 0.9], abs=0.01)
    swatches = [picture[24 * row + 10, 5].tolist() for row in range(3)]
    assert swatches == [PALETTE[1], PALETTE[3], PALETTE[0]]


def test_more_classes_than_there_is_room_for():
    ious = np.linspace(0, 1, 150)
    picture = draw_iou_bars(ious, 0 * ious, [LONG_NAME] * 150, [[9, 9, 9]] * 150, (90, 300))
    assert picture.shape == (90, 300, 3)
    assert ((picture[:72] == CLEAN_COLOUR).all(axis=2).any(axis=1)).sum() == 3 * 8


def test_a_class_that_is_nowhere_but_in_the_prediction_under_attack_is_drawn():
    """'100 -> 100, 1 of 1 classes' would hide that the attack made the model see another class."""
    label = torch.zeros(8, 8, dtype=torch.long)
    attacked = label.clone()
    attacked[:2] = 2
    counts = []
    for predicted in (label, attacked):
        sample = segmentation_sample(label)
        logits = torch.nn.functional.one_hot(predicted, 4).permute(2, 0, 1).float()
        sample.set_data({'seg_logits': PixelData(data=logits), 'pred_sem_seg': PixelData(data=predicted[None])})
        counts.append(Segmentation().judge(sample)['counts'])
    before, after = (image_ious(found, 4) for found in counts)
    assert (before[0], after[0], after[2]) == (1, 0.75, 0)
    assert np.isnan([before[2], before[1], after[3]]).all()
    picture = draw_iou_bars(before, after, 'abcd', PALETTE, (240, 600))
    swatches = [picture[24 * row + 10, 5].tolist() for row in range(2)]
    assert swatches == [PALETTE[2], PALETTE[0]]  # what appeared lost most
    assert not any((picture == PALETTE[absent]).all(axis=2).any() for absent in (1, 3))
