"""The protocols of a test under attack: which function the attacks differentiate."""

from collections.abc import Mapping

from samat_mm.errors import InputError
from samat_mm.pixels.unnormalised import unnormalised
from samat_mm.pixels.views import View
from samat_mm.tasks import Segmentation, Task

STRICT, PAPER_COMPAT = 'strict', 'paper-compat'
PROTOCOLS: Mapping[str, tuple[View, ...]] = {STRICT: (), PAPER_COMPAT: (unnormalised,)}


def refuse_protocol(protocol: str, task: Task, *, has_checks: bool) -> None:
    """Refuse a protocol that says nothing about a test.

    Args:
        protocol: one of ``PROTOCOLS``.
        task: the task of the model.
        has_checks: whether sanity checks are to be made.

    Raises:
        ValueError: with the reason.
    """
    if protocol == STRICT:
        return
    if not isinstance(task, Segmentation):
        raise InputError(
            f'protocol={protocol!r} repeats what the code released with the duality paper does to segmentors, and this '
            "model is none. That paper's code for classifiers normalises within the attack, as protocol='strict' does; "
            'use this.'
        )
    if has_checks:
        raise InputError(
            f'sanity checks ask whether an attack on the scored function works, and protocol={protocol!r} attacks '
            "another function; leave out --sanity, or use protocol='strict'."
        )
