"""The duality paper's networks that OpenMMLab does not provide."""

from samat_mm.networks.cifar_resnet import CIFARResNet
from samat_mm.networks.preact_resnet import PreActResNet
from samat_mm.networks.wide_resnet import WideResNet

__all__ = ['CIFARResNet', 'PreActResNet', 'WideResNet']
