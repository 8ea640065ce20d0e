# PGD adversarial training of the duality paper at its smallest radius for segmentation (tables 8 and 9): 1/255 in 5
# steps of .5/255. For its use, see pgd-at-linf.py.
adversarial_training = dict(
    type='AdversarialTrainingHook',
    attack=dict(type='PGD', norm='linf', eps='1/255', step_size='0.5/255', steps=5),
)
