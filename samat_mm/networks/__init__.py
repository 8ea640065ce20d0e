"""The networks that OpenMMLab lacks: those of the duality paper, and a small one for digits."""

from samat_mm.networks.cifar_resnet import CIFARResNet
from samat_mm.networks.preact_resnet import PreActResNet
from samat_mm.networks.small_cnn import SmallCNN
from samat_mm.networks.wide_resnet import WideResNet

__all__ = ['CIFARResNet', 'PreActResNet', 'SmallCNN', 'WideResNet']
