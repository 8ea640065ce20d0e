# A DeepLabv3 that a laptop trains in two minutes: ResNet-18 with a quarter of the channels, output stride 8.
_base_ = './deeplabv3_r50-d16.py'
model = dict(
    data_preprocessor=dict(size=(96, 96)),
    backbone=dict(depth=18, base_channels=16, stem_channels=16, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4)),
    decode_head=dict(
        in_channels=128,
        channels=48,
        dilations=(1, 2, 4),
        dropout_ratio=0,
        num_classes=11,
    ),
)
