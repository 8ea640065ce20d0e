# Classification on the exact subset of CIFAR-10 (benchmarks/cifar10_subset.py), for two CPU cores.
description = (
    'A network of 98 thousand weights, 700 steps of 64 of the 7,044 exact training images; the paper trains a '
    'PreActResNet-18 for 100 epochs of 50,000 images.'
)
config = '../smallcnn_cifar10-subset_sgd.py'
max_samples = 150
fast = dict(steps=20, queries=200)
attacks = {
    'autoattack-l2': fast,
    'autoattack-x0.5': fast,
    'autoattack': fast,
    'autoattack-x2': fast,
    'autoattack-x4': fast,
    'autoattack-x8': fast,
    'fab': dict(steps=30),
}
del fast
attacks_per_process = 20
