"""Data sets and transforms, registered in MMEngine's root registries, so any ``default_scope`` finds them.

Without mmsegmentation, there are only those that do not need it: data sets for classification.
"""

from importlib.util import find_spec

from samat_mm.datasets.handwriting import HandwrittenDigits
from samat_mm.datasets.rotten_tomatoes import RottenTomatoes
from samat_mm.datasets.tiny_imagenet import TinyImageNet

__all__ = ['HandwrittenDigits', 'RottenTomatoes', 'TinyImageNet']

if find_spec('mmseg') is not None:
    from samat_mm.datasets.digits import DigitScenes
    from samat_mm.datasets.loading import CheckedLoadAnnotations, CheckedLoadImage, CheckLabels
    from samat_mm.datasets.random_scale import RandomScale
    from samat_mm.datasets.stanford_background import LoadRegions, StanfordBackgroundDataset
    from samat_mm.datasets.voc import VOC2012Dataset

    __all__ += [
        'CheckLabels',
        'CheckedLoadAnnotations',
        'CheckedLoadImage',
        'DigitScenes',
        'LoadRegions',
        'RandomScale',
        'StanfordBackgroundDataset',
        'VOC2012Dataset',
    ]
