"""The row of table 2: methods, attacks, published numbers, and the settings of a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEFAULT_MODEL = Path(__file__).resolve().parents[2] / 'configs' / 'preactresnet18_cifar10_sgd.py'
PAPER = (
    'table 2 of the duality paper: PreActResNet-18, 100 epochs, exact pixels, mean of three runs; its code takes all '
    '10,000 test images for the natural accuracy and the first 1,000 under attack'
)
DATA_NOTE = 'CIFAR-10 as jpeg files, not its exact pixels: not comparable with published numbers as they stand'
PRECISION = 'bfloat16 autocast in training, channels-last; accuracies in float32 (cuDNN may take TF32)'

# Name in the table, and the preset with the settings of the caption. AutoAttack is the most expensive and comes last.
ATTACKS = {
    'fgsm': 'fgsm-linf',
    'pgd-linf': 'pgd-linf',
    'pgd-l2': 'pgd-l2-classification',
    'autoattack': 'autoattack-l2',
}
COLUMNS = ('natural', *ATTACKS)
TEST_IMAGES = 1_000  # from the start, as in the paper's code

# Upper bound on the passes of an image through the network; for AutoAttack if half of the images resist.
PASSES = {'natural': 1, 'fgsm': 3, 'pgd-linf': 22, 'pgd-l2': 22, 'autoattack': 5_000}


@dataclass(frozen=True)
class Method:
    """A training of the table.

    Attributes:
        wrapper: config of the optimizer wrapper.
        gradients: gradients of the batch per step.
        published: the paper's accuracies in percent, in the order of ``COLUMNS``.
    """

    wrapper: dict[str, Any]
    gradients: int
    published: tuple[float, ...]

    def paper(self) -> dict[str, float]:
        """Return the published accuracies by column."""
        return dict(zip(COLUMNS, self.published, strict=True))


def _sam(rho: float, *published: float) -> Method:
    return Method({'type': 'AmpSAMOptimWrapper', 'rho': rho}, 2, published)


METHODS = {
    'sgd': Method({'type': 'AnyDeviceAmpOptimWrapper'}, 1, (94.5, 63.4, 37.9, 41.5, 31.7)),
    'sam-0.1': _sam(0.1, 95.4, 63.3, 46.2, 48.7, 43.6),
    'sam-0.2': _sam(0.2, 95.5, 66.7, 51.3, 53.4, 48.1),
    'sam-0.3': _sam(0.3, 95.4, 66.6, 51.2, 53.5, 47.8),
    'sam-0.4': _sam(0.4, 94.7, 69.6, 56.4, 58.6, 51.8),
}
CHOSEN = ('sgd', 'sam-0.2', 'sam-0.4')


@dataclass(frozen=True)
class Settings:
    """The settings shared by all trainings of a run, which must be the same when a run continues.

    Attributes:
        data: the .npz file.
        digest: its SHA-256.
        model: config of the model and its preprocessor.
        device: 'cpu' or 'cuda'.
        seed: seed of weights, order, augmentation and attacks.
        batch: images per training step.
        images: number of training and of test images; None for all.
        attacks: names in the table.
        craft_dtype: precision of the attacks; None for the default.
    """

    data: str
    digest: str
    model: str
    device: str
    seed: int
    batch: int
    images: int | None
    attacks: tuple[str, ...]
    craft_dtype: str | None = None

    @property
    def test_images(self) -> int:
        """Number of attacked test images, if there are enough."""
        return TEST_IMAGES if self.images is None else min(TEST_IMAGES, self.images)


@dataclass(frozen=True)
class Files:
    """The files of a method.

    Attributes:
        work: folder of the run.
        method: name of the method.
    """

    work: Path
    method: str

    @property
    def folder(self) -> Path:
        """Folder of the method."""
        return self.work / self.method

    @property
    def checkpoint(self) -> Path:
        """State of the training after its latest epoch."""
        return self.folder / 'checkpoint.pth'

    @property
    def part(self) -> Path:
        """Numbers of the method so far."""
        return self.folder / 'part.json'

    @property
    def log(self) -> Path:
        """Output of the process."""
        return self.folder / 'log.txt'
