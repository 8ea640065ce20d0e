"""The networks of the duality paper that OpenMMLab lacks."""

from samat_mm.networks.cifar_resnet import CIFARResNet
from samat_mm.networks.preact_resnet import PreActResNet
from samat_mm.networks.wide_resnet import WideResNet

__all__ = ['CIFARResNet', 'PreActResNet', 'WideResNet']
