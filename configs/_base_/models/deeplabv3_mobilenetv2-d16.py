_base_ = './deeplabv3_r50-d16.py'
model = dict(
    data_preprocessor=dict(size=(513, 513)),
    backbone=dict(
        _delete_=True,
        type='MobileNetV2',
        widen_factor=1.0,
        strides=(1, 2, 2, 2, 1, 1, 1),
        dilations=(1, 1, 1, 1, 1, 2, 2),
        out_indices=(4, 6),  # a single index would not return the tuple that heads expect
        norm_cfg=dict(type='BN', requires_grad=True),
    ),
    decode_head=dict(in_channels=320, in_index=1, num_classes=21),
)
