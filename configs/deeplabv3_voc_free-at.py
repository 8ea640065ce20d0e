_base_ = ['./deeplabv3_voc_sgd.py', './_base_/perturbations/free-at-linf.py']
# 3,750 batches, 8 steps each.
param_scheduler = [dict(type='PolyLR', eta_min=0, power=0.9, begin=0, end=3750, by_epoch=False)]
train_cfg = dict(max_iters=3750, val_interval=250)
default_hooks = dict(
    checkpoint=dict(interval=250),
    adversarial_training=_base_.pop('adversarial_training'),
)
