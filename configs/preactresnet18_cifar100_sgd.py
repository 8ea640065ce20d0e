_base_ = [
    './_base_/models/preactresnet18_cifar.py',
    './_base_/datasets/cifar100.py',
    './_base_/schedules/cifar_100e.py',
    './_base_/runtimes/classification.py',
]
model = dict(head=dict(num_classes=100))
