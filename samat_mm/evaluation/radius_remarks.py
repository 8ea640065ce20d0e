"""Radii that are no attack, or not the one that was meant."""

from collections.abc import Mapping
from typing import Any

SMALLEST_L2 = 8 / 255  # the length of the whole perturbation; published radii begin at 32/255
LARGEST_LINF = 64 / 255  # a quarter of the range of every value, at which images can be anything


def radius_remarks(attacks: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each attack whose radius was probably meant for another norm.

    Args:
        attacks: attacks by name.
    """
    remarks = []
    for name, attack in attacks.items():
        norm, eps = getattr(attack, 'norm', None), getattr(attack, 'eps', None)
        if eps is None or eps == 0:
            continue
        if norm == 'l2' and eps <= SMALLEST_L2:
            remarks.append(
                f'{name}: an l2 radius of {eps * 255:g}/255 is the length of the whole perturbation, so a single value '
                f'may change by {eps * 255:g} grey levels, and thousands by next to nothing; l2 radii in use begin at '
                '32/255. Was it meant for linf?'
            )
        if norm == 'linf' and eps > LARGEST_LINF:
            remarks.append(
                f'{name}: a linf radius of {eps * 255:g}/255 lets every value change by {eps * 255:g} grey levels, '
                'which hides what the image shows; linf radii in use end at 16/255. Was it meant for l2?'
            )
    return remarks
