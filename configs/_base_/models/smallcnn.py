model = dict(
    type='ImageClassifier',
    backbone=dict(type='SmallCNN', in_channels=1, channels=(32, 32, 64, 64)),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=64, loss=dict(type='CrossEntropyLoss')),
)
