_base_ = '../../configs/resnet18_cifar10_sgd.py'
# CIFAR-10 as a folder of PNGs per class, see benchmarks/cifar10_subset.py.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomCrop', crop_size=32, padding=4, padding_mode='reflect'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
train_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(_delete_=True, type='CustomDataset', data_root='data/cifar10_subset/train', pipeline=train_pipeline),
)
val_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(_delete_=True, type='CustomDataset', data_root='data/cifar10_subset/test', pipeline=test_pipeline),
)
test_dataloader = val_dataloader
# The image loader gives BGR, unlike CIFAR10 of mmpretrain. A data_preprocessor in the model would hide this one.
data_preprocessor = dict(to_rgb=True)
