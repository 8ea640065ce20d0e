_base_ = './deeplabv3_digits_sgd.py'
optim_wrapper = dict(type='ASAMOptimWrapper', rho=0.5, eta=0.01)
