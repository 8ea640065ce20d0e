_base_ = './distilbert-small_rotten-tomatoes_adamw.py'
optim_wrapper = dict(type='SAMOptimWrapper', rho=0.05)
