# Stanford Background as in the duality paper: short side 256, crop 240, flip; validation at native size.
# `python tools/prepare_data.py stanford SOURCE` creates the folder. `dataset.fold` (0..4) selects another val fold.
data_root = 'data/stanford_background'
train_pipeline = [
    dict(type='CheckedLoadImage'),
    dict(type='LoadRegions'),
    dict(type='ResizeShortestEdge', scale=256, max_size=2048),
    dict(type='RandomCrop', crop_size=(240, 240)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
val_pipeline = [dict(type='CheckedLoadImage'), dict(type='LoadRegions'), dict(type='PackSegInputs')]
train_dataloader = dict(
    batch_size=16,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(type='StanfordBackgroundDataset', data_root=data_root, split='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=1,  # the sizes differ
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='StanfordBackgroundDataset', data_root=data_root, split='val', test_mode=True, pipeline=val_pipeline
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
