"""Adversarial images as files: rounded to 8 bits, read back, and scored."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from samat_mm.errors import InputError
from samat_mm.evaluation.attacked_batch import AttackedBatch
from samat_mm.files.access import writing
from samat_mm.files.outputs import file_name
from samat_mm.pixels.pixel_range import Range


@dataclass(frozen=True)
class Exported:
    """The contents of the files of a batch.

    Attributes:
        pixels: pixels that were read back, shape (N, C, H, W), in [0, 1]; padding as before.
        largest_changes: largest change of a pixel of each image, in [0, 1] units; rounding may exceed the radius.
    """

    pixels: Tensor
    largest_changes: list[float]


class Export:
    """Writes ``folder/ATTACK/NUMBER-NAME.png`` at the size that the network gets.

    Pixels are rounded, not cut off: a perturbation of less than one grey level would vanish otherwise.

    Args:
        folder: folder of the files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def check(self, image: Tensor, pixel_range: Range | None) -> None:
        """Refuse images that an 8-bit PNG file cannot hold.

        Args:
            image: an image as the data set gives it, shape (C, H, W).
            pixel_range: the range that was stated, None for 0 to 255.

        Raises:
            ValueError: if there are not one or three bands, or they are in another range.
        """
        if len(image) not in (1, 3) or pixel_range not in (None, (0.0, 255.0)):
            raise InputError(
                f'--export writes 8-bit PNG files, which hold one or three bands in 0..255; these images have '
                f'{len(image)} in {pixel_range or (0, 255)}. Leave --export out; --show-dir draws three of the bands.'
            )

    def __call__(
        self, attack: str, batch: AttackedBatch, pixels: Tensor, numbers: Sequence[int], samples: Sequence[Any]
    ) -> Exported:
        """Write the images of a batch and return the contents of the files.

        Args:
            attack: name of the attack.
            batch: the images.
            pixels: adversarial pixels, in [0, 1].
            numbers: numbers of the images in the data set.
            samples: their data samples, for the names.

        Raises:
            OSError: if a file cannot be written.
        """
        folder = self.folder / file_name(attack)
        found, changes = pixels.clone(), []
        for row, (number, sample) in enumerate(zip(numbers, samples, strict=True)):
            height, width = batch.sizes[row]
            name = Path(str(sample.metainfo.get('img_path') or 'image')).stem
            file = folder / f'{number:06d}-{name}.png'
            eight_bit = (pixels[row, :, :height, :width] * 255).round().byte().cpu().numpy().transpose(1, 2, 0)
            _, encoded = cv2.imencode('.png', eight_bit if batch.space.is_bgr else eight_bit[..., ::-1])
            with writing(file):
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(encoded.tobytes())
            read = np.asarray(cv2.imread(str(file), cv2.IMREAD_UNCHANGED)).reshape(eight_bit.shape)
            read = read if batch.space.is_bgr else read[..., ::-1]
            exported = torch.from_numpy(read.transpose(2, 0, 1).copy()).to(pixels) / 255
            found[row, :, :height, :width] = exported
            clean = batch.space.pixels[row, :, :height, :width]
            changes.append(float((exported - clean).abs().max()))
        return Exported(found, changes)
