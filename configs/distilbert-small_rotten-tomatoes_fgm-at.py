# A smaller radius than for distilbert-base: the embeddings of a sentence, all in one vector, have a length of 1.5 here.
_base_ = ['./distilbert-small_rotten-tomatoes_adamw.py', './_base_/perturbations/fgm-at.py']
default_hooks = dict(adversarial_training=_base_.pop('adversarial_training'))
default_hooks['adversarial_training']['attack']['eps'] = 0.2
