# A network of 98 thousand weights for CIFAR-10, which a CPU core trains in a minute.
_base_ = './resnet20_cifar10-subset_sgd.py'
model = dict(
    _delete_=True,
    type='ImageClassifier',
    backbone=dict(type='SmallCNN', in_channels=3, channels=(16, 32, 64, 128)),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=128, loss=dict(type='CrossEntropyLoss')),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.02, begin=0, end=50, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=0, begin=50, end=700, by_epoch=False),
]
train_cfg = dict(max_iters=700, val_interval=700)
default_hooks = dict(checkpoint=dict(interval=175))
