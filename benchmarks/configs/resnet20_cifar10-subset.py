_base_ = '../../configs/resnet20_cifar10_sgd.py'
# The test images of CIFAR-10 as a folder of PNGs per class, see benchmarks/cifar10_subset.py.
val_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        _delete_=True,
        type='CustomDataset',
        data_root='data/cifar10_subset/test',
        pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')],
    ),
)
test_dataloader = val_dataloader
data_preprocessor = dict(to_rgb=True)  # unlike mmpretrain's CIFAR10, the image loader gives BGR
