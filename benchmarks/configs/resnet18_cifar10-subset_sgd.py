_base_ = [
    'mmpretrain::_base_/models/resnet18_cifar.py',
    './_base_/cifar10_subset.py',
    '../../configs/_base_/schedules/cifar_100e.py',
    '../../configs/_base_/runtimes/classification.py',
]
