_base_ = ['./distilbert-small_rotten-tomatoes_adamw.py', './_base_/perturbations/freelb.py']
default_hooks = dict(adversarial_training=_base_.pop('adversarial_training'))
