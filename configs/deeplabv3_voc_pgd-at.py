_base_ = ['./deeplabv3_voc_sgd.py', './_base_/perturbations/pgd-at-linf.py']
default_hooks = dict(adversarial_training=_base_.pop('adversarial_training'))
