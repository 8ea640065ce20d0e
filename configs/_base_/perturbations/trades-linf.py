# TRADES (Zhang et al., ICML 2019): 10 steps of 2/255 away from the prediction on the clean image, weighted by 6. For
# its use, see pgd-at-linf.py.
adversarial_training = dict(
    type='TRADESHook',
    beta=6.0,
    attack=dict(type='PGD', norm='linf', eps='8/255', step_size='2/255', steps=10, random_start=False),
)
