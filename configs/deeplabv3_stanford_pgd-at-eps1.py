_base_ = ['./deeplabv3_stanford_sgd.py', './_base_/perturbations/pgd-at-linf-eps1.py']
default_hooks = dict(adversarial_training=_base_.pop('adversarial_training'))
