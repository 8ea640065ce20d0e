_base_ = './deeplabv3_stanford_sgd.py'
optim_wrapper = dict(type='SAMOptimWrapper', rho=0.05)
