"""Data sets and transforms, registered in MMEngine's root registries, so any ``default_scope`` finds them."""

from samat_mm.datasets.digits import DigitScenes
from samat_mm.datasets.handwriting import HandwrittenDigits
from samat_mm.datasets.loading import CheckedLoadAnnotations, CheckedLoadImage, CheckLabels
from samat_mm.datasets.random_scale import RandomScale
from samat_mm.datasets.stanford_background import LoadRegions, StanfordBackgroundDataset
from samat_mm.datasets.tiny_imagenet import TinyImageNet
from samat_mm.datasets.voc import VOC2012Dataset

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
