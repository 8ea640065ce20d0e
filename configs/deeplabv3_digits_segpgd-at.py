_base_ = ['./deeplabv3_digits_sgd.py', './_base_/perturbations/segpgd-at-linf.py']
default_hooks = dict(adversarial_training=_base_.pop('adversarial_training'))
