# PGD adversarial training (Madry et al., ICLR 2018): 10 steps of 2/255 from a random start.
#
# The configs of a method put this into default_hooks by name. A config that inherits one keeps it, whatever hooks it
# adds, and can change a number (`adversarial_training=dict(attack=dict(eps='4/255'))`) or replace the method:
# default_hooks = dict(adversarial_training=dict(_delete_=True, type='TRADESHook'))
adversarial_training = dict(
    type='AdversarialTrainingHook',
    attack=dict(type='PGD', norm='linf', eps='8/255', step_size='2/255', steps=10),
)
