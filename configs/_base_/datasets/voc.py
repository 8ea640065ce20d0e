# PASCAL VOC 2012 as in the duality paper: native size times .5 to 2, crop 513, flip; validation at native size.
# The model's preprocessor pads smaller crops, labels with 255. `python tools/prepare_data.py voc SOURCE` creates the
# folder. `--cfg-options train_dataloader.dataset.split=trainaug` trains on the 10,582 images of the augmented list in
# the place of the 1,464 of train; mmsegmentation's tools/dataset_converters/voc_aug.py writes its labels and lists.
data_root = 'data/VOCdevkit/VOC2012'
train_pipeline = [
    dict(type='CheckedLoadImage'),
    dict(type='CheckedLoadAnnotations'),
    dict(type='CheckLabels', num_classes=21),
    dict(type='RandomScale', ratio_range=(0.5, 2.0)),
    dict(type='RandomCrop', crop_size=(513, 513)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
val_pipeline = [
    dict(type='CheckedLoadImage'),
    dict(type='CheckedLoadAnnotations'),
    dict(type='CheckLabels', num_classes=21),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=16,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(type='VOC2012Dataset', data_root=data_root, split='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=1,  # the sizes differ
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='VOC2012Dataset', data_root=data_root, split='val', test_mode=True, pipeline=val_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
