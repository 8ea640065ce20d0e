_base_ = './resnet20_cifar10-subset_sgd.py'
# The statistics that the public checkpoint was trained with, see benchmarks/resnet20_checkpoint.py.
data_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
