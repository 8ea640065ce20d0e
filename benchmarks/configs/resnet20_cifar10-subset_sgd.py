_base_ = [
    '../../configs/_base_/models/resnet20_cifar.py',
    './_base_/cifar10_subset.py',
    '../../configs/_base_/schedules/cifar_100e.py',
    '../../configs/_base_/runtimes/classification.py',
]
param_scheduler = [
    dict(type='LinearLR', start_factor=0.02, begin=0, end=50, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=0, begin=50, end=2200, by_epoch=False),
]
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=2200, val_interval=2200)
train_dataloader = dict(batch_size=64, sampler=dict(_delete_=True, type='InfiniteSampler', shuffle=True))
default_hooks = dict(logger=dict(log_metric_by_epoch=False), checkpoint=dict(by_epoch=False, interval=275))
log_processor = dict(by_epoch=False)
