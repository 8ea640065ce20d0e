# For the radius, see distilbert-small_rotten-tomatoes_fgm-at.py.
_base_ = ['./distilbert-small_rotten-tomatoes_adamw.py', './_base_/perturbations/freelb.py']
default_hooks = dict(adversarial_training=_base_.pop('adversarial_training'))
default_hooks['adversarial_training']['attack'].update(eps=0.12, step_size=0.02)
