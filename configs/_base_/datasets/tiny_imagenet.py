# Tiny ImageNet as in the duality paper: resized to 32x32, then treated as CIFAR.
_base_ = './cifar10.py'
data_root = 'data/tiny-imagenet-200'
data_preprocessor = dict(num_classes=200, mean=[122.45, 114.26, 101.37], std=[70.49, 68.56, 71.81], to_rgb=True)
resized = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(32, 32))]
train_pipeline = [*resized, *_base_.train_pipeline]
val_pipeline = [*resized, *_base_.val_pipeline]
train_dataloader = dict(
    dataset=dict(_delete_=True, type='TinyImageNet', data_root=data_root, split='train', pipeline=train_pipeline)
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True, type='TinyImageNet', data_root=data_root, split='val', test_mode=True, pipeline=val_pipeline
    )
)
test_dataloader = val_dataloader
