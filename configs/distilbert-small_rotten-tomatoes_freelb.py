# For the radius and the first epoch, see distilbert-small_rotten-tomatoes_fgm-at.py.
_base_ = ['./distilbert-small_rotten-tomatoes_adamw.py', './_base_/perturbations/freelb.py']
default_hooks = dict(adversarial_training=_base_.pop('adversarial_training'))
default_hooks['adversarial_training'].update(
    attack=dict(type='PGD', norm='l2', eps=0.1, step_size=0.02, steps=3),
    eps_scheduler=dict(type='ConstantParamScheduler', param_name='eps', factor=1e-6, end=2),
)
