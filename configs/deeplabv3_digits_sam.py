_base_ = './deeplabv3_digits_sgd.py'
optim_wrapper = dict(type='SAMOptimWrapper', rho=0.05)
