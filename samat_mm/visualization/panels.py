"""The effect of an attack on an image, side by side."""

import colorsys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from samat_mm.pixels.pixel_space import PixelSpace
from samat_mm.tasks import Classification, Segmentation
from samat_mm.tasks.segmentation import class_map
from samat_mm.visualization.iou_bars import draw_iou_bars, image_ious
from samat_mm.visualization.strips import GAP, Panel, Row, displayed_size, save_figure

IGNORED_COLOUR = (235, 235, 235)
FIRST_ROW = 4  # panels of a segmentor's image in the first of two rows
HUE_STEP = 0.618  # between neighbouring classes without a palette colour
INVISIBLE = 1e-5  # a change of pixels below 0.003/255 comes from rounding


def panel_rows(
    space: PixelSpace, pixels: Tensor, clean: Sequence[Any], attacked: Sequence[Any], meta: dict[str, Any]
) -> list[tuple[str, list[Panel]]]:
    """Return one titled row of pictures per image.

    Args:
        space: the attacked batch.
        pixels: its adversarial images, in [0, 1].
        clean: the predictions on the clean images.
        attacked: the predictions on the adversarial images.
        meta: the data set's classes and palette.

    Returns:
        For each image its name and (title, RGB picture) pairs: clean image, adversarial image, amplified difference.
        For segmentors also label, clean prediction, prediction under attack and the IoU of the classes in the image;
        for classifiers the titles contain the classes.
    """
    rows = []
    for index, (height, width) in enumerate(space.sizes):
        image, adversarial = (_to_rgb(space, values[index, :, :height, :width]) for values in (space.pixels, pixels))
        name = Path(str(clean[index].metainfo.get('img_path') or f'image {index}')).stem
        titles, maps = ('clean image', 'adversarial image'), []
        if isinstance(space.task, Segmentation) and 'pred_sem_seg' in clean[index]:
            maps = _maps(space.task, clean[index], attacked[index], meta, displayed_size(image))
        elif isinstance(space.task, Classification) and 'pred_label' in clean[index]:
            titles = _verdicts(clean[index], attacked[index], meta)
        panels = [*zip(titles, (image, adversarial), strict=True), _difference(image, adversarial), *maps]
        rows.append((name, panels))
    return rows


def save_panels(
    folder: Path,
    numbers: Sequence[int],
    space: PixelSpace,
    pixels: Tensor,
    clean: Sequence[Any],
    attacked: Sequence[Any],
    meta: dict[str, Any],
) -> list[Path]:
    """Write one picture per image of the batch into ``folder``, named by its index in the data set.

    Returns:
        The paths of the pictures.
    """
    paths = []
    for number, row in zip(numbers, panel_rows(space, pixels, clean, attacked, meta), strict=True):
        paths.append(folder / f'{number:06d}-{row[0]}.png')
        save_figure(in_two_rows(*row), paths[-1])
    return paths


def in_two_rows(name: str, panels: Sequence[Panel]) -> list[Row]:
    """Return the panels of one image as the rows of its picture: the images, and beneath them maps and bars."""
    return [row for row in ((name, panels[:FIRST_ROW]), ('', panels[FIRST_ROW:])) if row[1]]


def _difference(image: np.ndarray, adversarial: np.ndarray) -> Panel:
    """Return the attack's changes around grey, amplified by the largest whole factor that does not saturate."""
    difference = adversarial - image
    largest = float(np.abs(difference).max())
    if largest < INVISIBLE:
        return 'no difference', np.full_like(image, 0.5)
    factor = max(1, int(0.5 / largest))
    return f'difference x{factor}', np.clip(0.5 + factor * difference, 0, 1)


def _maps(task: Segmentation, clean: Any, attacked: Any, meta: dict[str, Any], size: tuple[int, int]) -> list[Panel]:
    maps = [values.cpu().numpy() for values in (task.label_map(clean), class_map(clean), class_map(attacked))]
    judged = [task.judge(prediction) for prediction in (clean, attacked)]
    names, palette = _legend(meta, judged[0]['classes'])
    before, after = (image_ious(found['counts'], found['classes']) for found in judged)
    height, width = size
    bars = draw_iou_bars(before, after, names, palette, (height, 2 * width + GAP))
    titles = ('label', 'clean prediction', 'prediction under attack')
    coloured = [_colour(values, palette) for values in maps]
    return [*zip(titles, coloured, strict=True), ('IoU in this image, largest drop first', bars)]


def _verdicts(clean: Any, attacked: Any, meta: dict[str, Any]) -> tuple[str, str]:
    truth = clean.gt_label if 'gt_label' in clean else clean.gt_score.argmax()
    label, before, after = (_class_name(value, meta) for value in (truth, clean.pred_label, attacked.pred_label))
    return f'label: {label}\nclean: {before}', f'under attack: {after}'


def _to_rgb(space: PixelSpace, pixels: Tensor) -> np.ndarray:
    """Return three bands, shape (H, W, 3): the first three of more bands, or fewer bands as grey."""
    image = pixels.detach().float().cpu().numpy().transpose(1, 2, 0)
    if image.shape[2] < 3:
        return image[..., :1].repeat(3, axis=2)
    return image[..., ::-1] if space.is_bgr and image.shape[2] == 3 else image[..., :3]


def _legend(meta: dict[str, Any], count: int) -> tuple[list[str], list[Sequence[int]]]:
    """Return a name and a colour for each class, from the data set if it has them."""
    names, colours = list(meta.get('classes') or ()), list(meta.get('palette') or ())
    hues = [colorsys.hsv_to_rgb(number * HUE_STEP % 1, 0.6, 0.9) for number in range(count)]
    return (
        [str(names[number]) if number < len(names) else str(number) for number in range(count)],
        [colours[number] if number < len(colours) else [round(255 * part) for part in hues[number]]
         for number in range(count)],
    )  # fmt: skip


def _colour(label_map: np.ndarray, colours: Sequence[Sequence[int]]) -> np.ndarray:
    palette = np.full((256, 3), IGNORED_COLOUR, dtype=np.uint8)
    palette[: len(colours)] = colours[:255]
    return palette[label_map.astype(np.uint8)]


def _class_name(label: Tensor, meta: dict[str, Any]) -> str:
    classes = meta.get('classes') or ()
    index = int(label.reshape(-1)[0])
    return str(classes[index]) if index < len(classes) else str(index)
