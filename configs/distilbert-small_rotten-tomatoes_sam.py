# The first of the 4 epochs (267 steps each) is without SAM and takes the place of pretraining: from random weights, at
# which the gradient is small, a step of .05 leads so far that the network does not begin to learn.
_base_ = './distilbert-small_rotten-tomatoes_adamw.py'
optim_wrapper = dict(type='SAMOptimWrapper', rho=0.05, start_iter=267)
