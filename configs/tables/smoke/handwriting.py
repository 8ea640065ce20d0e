# Budget "smoke" of the classification tables: the 8x8 digits of scikit-learn and a small network, minutes on two cores.
# Radii are scaled to these images: 8/255 of adversarial training becomes 0.1, and 1/255 of an attack becomes 0.05.
# Pixle is scaled with their side, 8 in the place of 32 pixels: its patches, 2 to 10 pixels wide, and its 20 restarts.
# 20 of them rearrange most of such an image: even with patches of one pixel they fool a model on 499 images in 500.
seeds = [0, 1, 2]
smoke = dict(
    description='Other data (the 8x8 digits of scikit-learn), a small network and scaled radii: compare the order of '
    'the rows, not their values.',
    attacks_per_process=10,
    config='smallcnn_handwriting_sgd.py',
    training_radii=dict(linf=3.1875, l2=1.0),
    attack_radii=dict(linf=12.75, l2=2.0),
    attacks={
        'autoattack-l2': dict(steps=20, queries=200),
        'pixle': dict(restarts=5, widths=(1, 2), heights=(1, 2)),
    },
    models={
        'wrn28-10_cifar10_sgd.py': dict(backbone=dict(channels=(64, 64, 128, 128)), head=dict(in_channels=128)),
        'deit-tiny_cifar10_sgd.py': dict(
            backbone=dict(
                _delete_=True,
                type='VisionTransformer',
                arch=dict(embed_dims=64, num_layers=4, num_heads=4, feedforward_channels=128),
                img_size=8,
                patch_size=2,
                in_channels=1,
            ),
            neck=None,
            head=dict(
                _delete_=True,
                type='VisionTransformerClsHead',
                num_classes=10,
                in_channels=64,
                loss=dict(type='CrossEntropyLoss'),
            ),
        ),
    },
)
short = dict(description='A tenth of the schedule: the published numbers come from all of it.', share=0.1)
