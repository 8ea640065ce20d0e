"""What an attack did to an image, side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mmengine.model import ImgDataPreprocessor
from torch import Tensor

from samat_mm.models.pixel_space import PixelSpace

IGNORED_COLOUR = (235, 235, 235)
Panel = tuple[str, np.ndarray]


def panel_rows(
    space: PixelSpace, pixels: Tensor, clean: Sequence[Any], attacked: Sequence[Any], meta: dict[str, Any]
) -> list[tuple[str, list[Panel]]]:
    """Return one titled row of pictures per image.

    Args:
        space: the attacked batch.
        pixels: its adversarial images, in [0, 1].
        clean: the predictions on the clean images.
        attacked: the predictions on the adversarial ones.
        meta: the data set's classes and palette.

    Returns:
        For each image its name and (title, RGB picture) pairs: for segmentors image, label, clean prediction,
        perturbation, prediction under attack; for classifiers image, perturbation and adversarial image, with the
        classes in the titles.
    """
    rows = []
    for index, (height, width) in enumerate(space.sizes):
        image = _to_rgb(space, space.pixels[index, :, :height, :width])
        adversarial = _to_rgb(space, pixels[index, :, :height, :width])
        difference = adversarial - image
        amplification = max(1, int(0.5 / max(float(np.abs(difference).max()), 1e-6)))
        perturbation = (f'perturbation x{amplification}', np.clip(0.5 + amplification * difference, 0, 1))
        name = Path(str(clean[index].metainfo.get('img_path') or f'image {index}')).stem
        if 'pred_sem_seg' in clean[index]:
            panels = [
                ('image', image),
                ('label', _colour(clean[index].gt_sem_seg.data, meta)),
                ('clean prediction', _colour(clean[index].pred_sem_seg.data, meta)),
                perturbation,
                ('prediction under attack', _colour(attacked[index].pred_sem_seg.data, meta)),
            ]
        else:
            before, after, label = (
                _class_name(value, meta)
                for value in (clean[index].pred_label, attacked[index].pred_label, clean[index].gt_label)
            )
            panels = [
                (f'label {label}: seen as {before}', image),
                perturbation,
                (f'under attack: seen as {after}', adversarial),
            ]
        rows.append((name, panels))
    return rows


def save_figure(rows: Sequence[tuple[str, Sequence[Panel]]], path: str | Path) -> None:
    """Write rows of pictures to one figure; the format follows the file's suffix."""
    columns = max(len(panels) for _, panels in rows)
    first = rows[0][1][0][1]
    cell = 2.4
    figure = Figure(figsize=(cell * columns, cell * len(rows) * first.shape[0] / first.shape[1] + 0.3))
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    with matplotlib.rc_context({'font.size': 9}):
        for row, (name, panels) in enumerate(rows):
            for column, axis in enumerate(axes[row]):
                axis.set_xticks([])
                axis.set_yticks([])
                axis.set_frame_on(False)
                if column < len(panels):
                    title, picture = panels[column]
                    axis.imshow(picture, interpolation='nearest')
                    if row == 0 or title != rows[0][1][column][0]:
                        axis.set_title(title, fontsize=9)
            axes[row][0].set_ylabel(name, fontsize=9)
    figure.tight_layout(pad=0.4)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def save_panels(
    folder: Path,
    numbers: Sequence[int],
    space: PixelSpace,
    pixels: Tensor,
    clean: Sequence[Any],
    attacked: Sequence[Any],
    meta: dict[str, Any],
) -> None:
    """Write one picture per image of the batch into ``folder``, named by its number in the data set."""
    for number, (name, panels) in zip(numbers, panel_rows(space, pixels, clean, attacked, meta), strict=True):
        save_figure([(name, panels)], folder / f'{number:06d}-{name}.png')


def _to_rgb(space: PixelSpace, pixels: Tensor) -> np.ndarray:
    image = pixels.detach().cpu().numpy().transpose(1, 2, 0)
    preprocessor: Any = getattr(space.model, 'data_preprocessor', None)
    loaded_as_bgr = isinstance(preprocessor, ImgDataPreprocessor)  # of mmsegmentation and mmdetection
    return image[..., ::-1] if loaded_as_bgr and not preprocessor._channel_conversion else image


def _colour(label_map: Tensor, meta: dict[str, Any]) -> np.ndarray:
    palette = np.full((256, 3), IGNORED_COLOUR, dtype=np.uint8)
    palette[: len(meta['palette'])] = meta['palette']
    return palette[label_map.squeeze(0).cpu().numpy().astype(np.uint8)]


def _class_name(label: Tensor, meta: dict[str, Any]) -> str:
    classes = meta.get('classes') or ()
    index = int(label.reshape(-1)[0])
    return str(classes[index]) if index < len(classes) else str(index)
