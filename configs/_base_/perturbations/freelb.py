# FreeLB (Zhu et al., ICLR 2020): 3 steps of length .1 within .6 of the embeddings of a sentence, as its authors train
# on SST-2. For its use, see pgd-at-linf.py.
adversarial_training = dict(type='FreeLBHook', attack=dict(type='PGD', norm='l2', eps=0.6, step_size=0.1, steps=3))
