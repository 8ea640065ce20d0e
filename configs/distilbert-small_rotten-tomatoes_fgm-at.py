# A smaller radius than for distilbert-base, because the embeddings are shorter: those of a sentence, all in one vector,
# have a length of about 1.5. As in distilbert-small_rotten-tomatoes_sam.py, the first epoch is for clean sentences.
# (MMEngine's constant factor ends with the step before `end`: from the second epoch on, the radius is whole.)
_base_ = ['./distilbert-small_rotten-tomatoes_adamw.py', './_base_/perturbations/fgm-at.py']
default_hooks = dict(adversarial_training=_base_.pop('adversarial_training'))
default_hooks['adversarial_training'].update(
    attack=dict(type='FGSM', norm='l2', eps=0.1),
    eps_scheduler=dict(type='ConstantParamScheduler', param_name='eps', factor=1e-6, end=2),
)
