# As cifar10-subset.py, on all images in jpeg form.
_base_ = './cifar10-subset.py'
description = (
    'A network of 98 thousand weights, 700 steps of 64 of all 50,000 training images in jpeg form; the paper trains a '
    'PreActResNet-18 for 100 epochs of the exact images.'
)
config = '../smallcnn_cifar10-jpeg_sgd.py'
