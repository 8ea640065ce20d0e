"""The comparisons of our attacks with others, by model."""

from dataclasses import dataclass
from typing import Any

from costs.attack_rivals import Rival, cospgd_weights, dense_loop, library, library_ensemble, segpgd_weights

STEPS, LIBRARY, LOOP = 10, 'torchattacks', "SemSegBench's loop"
SMALL, LARGE = 1 / 255, 8 / 255  # steps are a quarter of the radius, as in the paper


@dataclass
class Contest:
    """An attack of ours and its rivals at the same settings."""

    ours: dict[str, Any]
    rivals: dict[str, Rival]


def dense(name: str, weighting: Any) -> Contest:
    """Return PGD with pixel weights, which torchattacks does not have."""
    settings = dict(type=name, norm='linf', eps=LARGE, step_size=0.01, steps=STEPS)
    return Contest(settings, {LOOP: dense_loop(LARGE, 0.01, STEPS, weighting)})


def contests(steps: int, queries: int) -> dict[str, dict[str, Contest]]:
    """Return the comparisons for each model; ``steps`` applies to APGD, FAB and AutoAttack."""
    pgd = Contest(
        dict(type='PGD', norm='linf', eps=LARGE, step_size=LARGE / 4, steps=STEPS),
        {
            LIBRARY: library('PGD', eps=LARGE, alpha=LARGE / 4, steps=STEPS),
            LOOP: dense_loop(LARGE, LARGE / 4, STEPS),
        },
    )
    ball, theirs = dict(norm='linf', eps=SMALL), dict(norm='Linf', eps=SMALL)
    small = {
        'pgd': Contest(
            dict(type='PGD', **ball, steps=STEPS), {LIBRARY: library('PGD', eps=SMALL, alpha=SMALL / 4, steps=STEPS)}
        ),
        'pgd-until-error': Contest(
            dict(type='PGD', **ball, steps=STEPS, goal='error'),
            {LIBRARY: library('PGD', eps=SMALL, alpha=SMALL / 4, steps=STEPS)},
        ),
        'apgd': Contest(
            dict(type='APGD', **ball, steps=steps, goal='error'), {LIBRARY: library('APGD', **theirs, steps=steps)}
        ),
        'fab': Contest(
            dict(type='FAB', **ball, steps=steps, targets='ranked'),
            {LIBRARY: library('FAB', **theirs, steps=steps, multi_targeted=True, n_classes=10)},
        ),
        'square': Contest(
            dict(type='Square', **ball, queries=queries), {LIBRARY: library('Square', **theirs, n_queries=queries)}
        ),
        'pixle': Contest(
            dict(type='Pixle', restarts=4, iterations=5), {LIBRARY: library('Pixle', restarts=4, max_iterations=5)}
        ),
        'autoattack': Contest(
            dict(type='AutoAttack', **ball, steps=steps, queries=queries),
            {LIBRARY: library_ensemble(SMALL, steps, queries)},
        ),
    }
    on_maps = {'pgd': pgd, 'segpgd': dense('SegPGD', segpgd_weights), 'cospgd': dense('CosPGD', cospgd_weights)}
    on_images = {'pgd': pgd}
    return {
        'resnet18': on_images,
        'resnet20': small,
        'deeplabv3': on_maps,
        'tiny': on_images,
        'tiny-segmentor': on_images,
    }
