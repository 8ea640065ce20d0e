"""What is done to models from outside, so that no model has to change; and the models that OpenMMLab lacks."""

from samat_mm.models.cifar_resnet import CIFARResNet
from samat_mm.models.preact_resnet import PreActResNet
from samat_mm.models.wide_resnet import WideResNet

__all__ = ['CIFARResNet', 'PreActResNet', 'WideResNet']
