_base_ = [
    './_base_/models/resnet20_cifar.py',
    './_base_/datasets/cifar10.py',
    './_base_/schedules/cifar_100e.py',
    './_base_/runtimes/classification.py',
]
# ImageNet's statistics, which the public checkpoint was trained with, see benchmarks/resnet20_checkpoint.py.
data_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
