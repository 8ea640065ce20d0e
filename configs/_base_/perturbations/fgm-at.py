# The fast gradient method on the embeddings of a sentence (Miyato et al., ICLR 2017): one step of length 1. For its
# use, see pgd-at-linf.py.
adversarial_training = dict(type='AdversarialTrainingHook', attack=dict(type='FGSM', norm='l2', eps=1.0))
