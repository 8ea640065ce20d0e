_base_ = ['./resnet18_cifar10_sgd.py', './_base_/perturbations/trades-linf.py']
default_hooks = dict(adversarial_training=_base_.pop('adversarial_training'))
