_base_ = ['./deeplabv3_digits_sgd.py', './_base_/perturbations/free-at-linf.py']
# 125 batches, 8 steps each.
param_scheduler = [
    dict(type='LinearLR', start_factor=0.02, begin=0, end=6, by_epoch=False),
    dict(type='PolyLR', eta_min=0, power=0.9, begin=6, end=125, by_epoch=False),
]
train_cfg = dict(max_iters=125, val_interval=125)
default_hooks = dict(
    checkpoint=dict(interval=25),
    logger=dict(interval=5),
    adversarial_training=_base_.pop('adversarial_training'),
)
