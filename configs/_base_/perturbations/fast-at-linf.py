# Fast adversarial training (Wong et al., ICLR 2020): one step of 1.25 eps from a random start. For its use, see
# pgd-at-linf.py.
adversarial_training = dict(
    type='AdversarialTrainingHook',
    attack=dict(type='PGD', norm='linf', eps='8/255', step_size='10/255', steps=1),
)
