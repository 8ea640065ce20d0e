# A network of one stage and four channels, which shows on a CPU that a benchmark runs; it learns nothing.
_base_ = '../../configs/preactresnet18_cifar10_sgd.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='ResNet_CIFAR',
        depth=18,
        stem_channels=4,
        base_channels=4,
        num_stages=1,
        strides=(1,),
        dilations=(1,),
        out_indices=(0,),
    ),
    head=dict(in_channels=4),
)
