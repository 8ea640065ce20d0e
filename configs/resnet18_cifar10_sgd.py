_base_ = [
    'mmpretrain::_base_/models/resnet18_cifar.py',
    './_base_/datasets/cifar10.py',
    './_base_/schedules/cifar_100e.py',
    './_base_/runtimes/classification.py',
]
