"""Both halves of the duality together: methods with passes of their own on the images of an attack."""

from pathlib import Path

import pytest
import torch
from helpers import ClassificationImages, Recorder, classifier, runner
from torch import Tensor

from samat_mm.engine.hooks import AdversarialTrainingHook
from samat_mm.perturbations.inputs import PGD


class Counting(PGD):
    """Counts the batches that it attacks, and keeps what it makes of them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._settle(results=[])

    def __call__(self, *args, **kwargs) -> Tensor:
        self.results.append(super().__call__(*args, **kwargs))
        return self.results[-1]


@pytest.mark.parametrize(
    ('perturbation', 'sizes'),
    [
        (dict(type='AWP', rho=0.05), [[4, 4]] * 3),
        (dict(type='ESAM', rho=0.2), [[4, 4, 2]] * 3),
        (dict(type='LookSAM', rho=0.2, interval=2), [[4, 4], [4], [4, 4]]),
        (dict(type='SSAMF', rho=0.2, samples=4), [[4, 4, 4], [4, 4], [4, 4]]),
    ],
    ids=lambda value: value['type'] if isinstance(value, dict) else '',
)
def test_one_attack_per_iteration_serves_all_passes(perturbation: dict, sizes: list, tmp_path: Path) -> None:
    """A pass on fewer samples sees some of the same images; the attack's own forwards count for no loss."""
    recorder, attack, model = Recorder(), Counting('linf', '8/255', '4/255', steps=2), classifier()
    start = model.head.fc.weight.detach().clone()
    runner(
        model,
        tmp_path,
        train=ClassificationImages(12),
        batch_size=4,
        iterations=3,
        optim_wrapper=dict(
            type='SAMOptimWrapper', perturbation=perturbation, optimizer=dict(type='SGD', lr=0.05, momentum=0.9)
        ),
        hooks=[recorder, AdversarialTrainingHook(attack)],
    ).train()
    assert len(attack.results) == 3
    fed = iter(recorder.inputs)
    for passes in sizes:
        first, *others = [next(fed) for _ in passes]
        assert [len(first), *map(len, others)] == passes
        for inputs in others:
            assert all(any(torch.equal(image, known) for known in first) for image in inputs)
    assert next(fed, None) is None
    assert not torch.equal(model.head.fc.weight, start)
    assert all(bool(torch.isfinite(value).all()) for value in model.state_dict().values())
