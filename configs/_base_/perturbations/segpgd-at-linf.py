# SegPGD adversarial training (Gu et al., ECCV 2022): 3 steps at 8/255, with the step size of CosPGD's benchmark.
# For its use, see pgd-at-linf.py.
adversarial_training = dict(
    type='AdversarialTrainingHook', attack=dict(type='SegPGD', norm='linf', eps='8/255', steps=3)
)
