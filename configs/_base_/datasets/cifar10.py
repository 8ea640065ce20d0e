# CIFAR-10 as in the duality paper: crop 32 after padding 4 by reflection, horizontal flip, batches of 128.
# mmpretrain can fetch the data itself: --cfg-options train_dataloader.dataset.download=True
data_root = 'data/cifar10'
data_preprocessor = dict(
    num_classes=10,
    mean=[125.307, 122.961, 113.8575],
    std=[51.5865, 50.847, 51.255],
    to_rgb=False,  # mmpretrain's CIFAR is RGB from the start
)
train_pipeline = [
    # RandomCrop(32, padding=4, padding_mode='reflect') would pad with zeros: mmpretrain only uses the mode for
    # pad_if_needed, which here pads 32 to 40, four pixels on each side.
    dict(type='RandomCrop', crop_size=40, pad_if_needed=True, padding_mode='reflect'),
    dict(type='RandomCrop', crop_size=32),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
val_pipeline = [dict(type='PackInputs')]
train_dataloader = dict(
    batch_size=128,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='CIFAR10', data_root=data_root, split='train', download=False, pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=128,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CIFAR10', data_root=data_root, split='test', download=False, test_mode=True, pipeline=val_pipeline
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1,))
test_evaluator = val_evaluator
