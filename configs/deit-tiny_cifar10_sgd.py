_base_ = [
    './_base_/models/deit-tiny_cifar.py',
    './_base_/datasets/cifar10.py',
    './_base_/schedules/cifar_100e.py',
    './_base_/runtimes/classification.py',
]
