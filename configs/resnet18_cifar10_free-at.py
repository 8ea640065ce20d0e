_base_ = ['./resnet18_cifar10_sgd.py', './_base_/perturbations/free-at-linf.py']
default_hooks = dict(adversarial_training=_base_.pop('adversarial_training'))
# 12 epochs, 8 steps of the optimizer on each batch.
param_scheduler = [dict(type='MultiStepLR', by_epoch=True, milestones=[9, 11], gamma=0.1)]
train_cfg = dict(by_epoch=True, max_epochs=12, val_interval=1)
