# Free adversarial training (Shafahi et al., NeurIPS 2019): 8 steps of the optimizer on each batch, and the gradient of
# each moves the images by eps. Schedules count batches: an eighth of them cost what plain training costs. How it is
# used: pgd-at-linf.py.
adversarial_training = dict(type='FreeAdversarialTrainingHook', replays=8, norm='linf', eps='8/255')
