"""The effect of an attack on an image, side by side."""

import colorsys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from samat_mm.files.access import writing
from samat_mm.pixels.pixel_space import PixelSpace
from samat_mm.tasks import Classification, Segmentation
from samat_mm.tasks.segmentation import class_map
from samat_mm.visualization.iou_bars import draw_iou_bars, image_ious
from samat_mm.visualization.lettering import INK, LINE, font, shorten
from samat_mm.visualization.panel_places import Place, described

IGNORED_COLOUR = (235, 235, 235)
SIDE = 320  # pixels, the maximum length of a picture's longer side
GAP = 8  # pixels between pictures
FIRST_ROW = 4  # panels of a segmentor's image in the first of two rows
HUE_STEP = 0.618  # between neighbouring classes without a palette colour
INVISIBLE = 1e-5  # a change of pixels below 0.003/255 comes from rounding
Panel = tuple[str, np.ndarray]


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
            maps = _maps(space.task, clean[index], attacked[index], meta, _displayed_size(image))
        elif isinstance(space.task, Classification) and 'pred_label' in clean[index]:
            titles = _verdicts(clean[index], attacked[index], meta)
        panels = [*zip(titles, (image, adversarial), strict=True), _difference(image, adversarial), *maps]
        rows.append((name, panels))
    return rows


def save_figure(rows: Sequence[tuple[str, Sequence[Panel]]], path: str | Path) -> None:
    """Write rows of titled pictures, each row under its name; the file suffix selects the format.

    Small pictures are enlarged by a whole factor, without smoothing; large ones are scaled down. A PNG file also says
    where each picture is (:func:`panels_of`), so a page can arrange them as its width permits.
    """
    strips = [_strip(name, panels) for name, panels in rows]
    width = max(strip.width for strip, _ in strips) + 2 * GAP
    figure = Image.new('RGB', (width, sum(strip.height + GAP for strip, _ in strips) + GAP), 'white')
    places: list[Place] = []
    top = GAP
    for strip, boxes in strips:
        figure.paste(strip, (GAP, top))
        places += [(title, (GAP + x, top + y, GAP + right, top + end)) for title, (x, y, right, end) in boxes]
        top += strip.height + GAP
    with writing(path):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.save(path, compress_level=3, pnginfo=described(places))  # PNG compression takes most of the time


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
    for number, (name, panels) in zip(numbers, panel_rows(space, pixels, clean, attacked, meta), strict=True):
        rows = [(name, panels[:FIRST_ROW]), ('', panels[FIRST_ROW:])]
        paths.append(folder / f'{number:06d}-{name}.png')
        save_figure([row for row in rows if row[1]], paths[-1])
    return paths


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


def _strip(name: str, panels: Sequence[Panel]) -> tuple[Image.Image, list[Place]]:
    """Return the pictures side by side at the same height, below their titles, and the place of each."""
    height, _ = _displayed_size(panels[0][1])
    tiles = [_resize(picture, height) for _, picture in panels]
    lines = max(title.count('\n') + 1 for title, _ in panels)
    top = LINE * (lines + bool(name))
    strip = Image.new('RGB', (sum(tile.width + GAP for tile in tiles) - GAP, top + height), 'white')
    draw = ImageDraw.Draw(strip)
    draw.text((0, 0), shorten(name, strip.width), INK, font())
    places, left = [], 0
    for (title, _), tile in zip(panels, tiles, strict=True):
        for number, line in enumerate(reversed(title.split('\n')), 1):
            draw.text((left, top - LINE * number), shorten(line, tile.width), INK, font())
        strip.paste(tile, (left, top))
        places.append((title, (left, top, left + tile.width, top + height)))
        left += tile.width + GAP
    return strip, places


def _displayed_size(picture: np.ndarray) -> tuple[int, int]:
    """Return the height and width at which a picture is shown."""
    longer = max(picture.shape[:2])
    factor = SIDE // longer if longer <= SIDE else SIDE / longer
    height, width = (max(1, round(factor * side)) for side in picture.shape[:2])
    return height, width


def _resize(picture: np.ndarray, height: int) -> Image.Image:
    """Return an 8-bit picture of a given height; values in [0, 1] are rounded to 8 bits."""
    array = picture if picture.dtype == np.uint8 else np.round(255 * np.clip(picture, 0, 1)).astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(array))
    size = (max(1, round(image.width * height / image.height)), height)
    return image.resize(size, Image.Resampling.NEAREST if height >= image.height else Image.Resampling.BOX)


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
