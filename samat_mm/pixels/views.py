"""How an attack sees a batch where it attacks another function than the one that is scored."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from samat_mm.pixels.input_space import InputSpace

Back = Callable[[Tensor], Tensor]
View = Callable[[Any], tuple[InputSpace, Back]]  # of the kind of batch that it is made for


def seen_through(views: Sequence[View], space: InputSpace) -> tuple[InputSpace, Back]:
    """Return a batch as an attack sees it after one view and then the next, and the way back.

    Args:
        views: functions of a batch; each returns the batch that the attack sees, and a function that turns adversarial
            pixels of that one, shape (N, C, H, W), into adversarial pixels of its own batch.
        space: the batch as the scored model sees it.
    """
    backs: list[Back] = []
    for view in views:
        space, back = view(space)
        backs.insert(0, back)

    def to_pixels(pixels: Tensor) -> Tensor:
        for back in backs:
            pixels = back(pixels)
        return pixels

    return space, to_pixels
