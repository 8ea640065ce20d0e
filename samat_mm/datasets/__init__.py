"""Data sets and transforms, registered in MMEngine's root registries, so any ``default_scope`` finds them."""

from samat_mm.compat import distributions

distributions.let_torchvision_import()  # mmsegmentation imports it

from samat_mm.datasets.digits import DigitScenes  # noqa: E402
from samat_mm.datasets.handwriting import HandwrittenDigits  # noqa: E402
from samat_mm.datasets.loading import CheckedLoadAnnotations, CheckedLoadImage, CheckLabels  # noqa: E402
from samat_mm.datasets.random_scale import RandomScale  # noqa: E402
from samat_mm.datasets.stanford_background import LoadRegions, StanfordBackgroundDataset  # noqa: E402
from samat_mm.datasets.tiny_imagenet import TinyImageNet  # noqa: E402
from samat_mm.datasets.voc import VOC2012Dataset  # noqa: E402

__all__ = [
    'CheckLabels',
    'CheckedLoadAnnotations',
    'CheckedLoadImage',
    'DigitScenes',
    'HandwrittenDigits',
    'LoadRegions',
    'RandomScale',
    'StanfordBackgroundDataset',
    'TinyImageNet',
    'VOC2012Dataset',
]
