_base_ = './resnet18_cifar10-subset_sgd.py'
# A quarter of the channels of ResNet-18: 0.7 M weights and about the multiplications of a ResNet-20.
model = dict(backbone=dict(stem_channels=16, base_channels=16), head=dict(in_channels=128))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.02, begin=0, end=50, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=0, begin=50, end=660, by_epoch=False),
]
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=660, val_interval=660)
train_dataloader = dict(batch_size=64, sampler=dict(_delete_=True, type='InfiniteSampler', shuffle=True))
default_hooks = dict(logger=dict(log_metric_by_epoch=False), checkpoint=dict(by_epoch=False, interval=330))
log_processor = dict(by_epoch=False)
