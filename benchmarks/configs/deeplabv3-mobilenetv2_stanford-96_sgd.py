# Stanford Background for two CPU cores: MobileNetV2 from ImageNet weights, images with a short side of 96 pixels.
_base_ = [
    '../../configs/_base_/models/deeplabv3_mobilenetv2-d16.py',
    '../../configs/_base_/datasets/stanford.py',
    '../../configs/_base_/schedules/segmentation_30k.py',
    '../../configs/_base_/runtimes/segmentation.py',
]
model = dict(data_preprocessor=dict(size=(96, 96)), decode_head=dict(num_classes=8))
train_pipeline = [
    dict(type='CheckedLoadImage'),
    dict(type='LoadRegions'),
    dict(type='ResizeShortestEdge', scale=96, max_size=1024),
    dict(type='RandomCrop', crop_size=(96, 96)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
val_pipeline = [
    dict(type='CheckedLoadImage'),
    dict(type='ResizeShortestEdge', scale=96, max_size=1024),
    dict(type='LoadRegions'),  # labels keep their size: predictions are enlarged to it
    dict(type='PackSegInputs'),
]
train_dataloader = dict(batch_size=8, num_workers=0, persistent_workers=False, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
param_scheduler = [dict(type='PolyLR', eta_min=0, power=0.9, begin=0, end=250, by_epoch=False)]
train_cfg = dict(max_iters=250, val_interval=250)
default_hooks = dict(
    pretrained=dict(
        type='PretrainedBackboneHook',
        checkpoint='data/pretrained/mobilenetv2_imagenet.npz',
        source='MobileNetV2 1.0, ImageNet, under torchvision names',
    ),
    checkpoint=dict(interval=50),
)
