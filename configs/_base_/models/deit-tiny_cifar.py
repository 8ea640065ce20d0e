# DeiT-tiny (Touvron et al., ICML 2021) without distillation: 12 layers, 192 channels, 3 heads; 256 patches of 2x2
# pixels.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='VisionTransformer', arch='deit-tiny', img_size=32, patch_size=2),
    head=dict(type='VisionTransformerClsHead', num_classes=10, in_channels=192, loss=dict(type='CrossEntropyLoss')),
)
