# A smaller radius than for distilbert-base: at 0.05, SAM does not leave the plateau at the random weights.
_base_ = './distilbert-small_rotten-tomatoes_adamw.py'
optim_wrapper = dict(type='SAMOptimWrapper', rho=0.01)
