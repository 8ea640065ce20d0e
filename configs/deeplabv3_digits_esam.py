_base_ = './deeplabv3_digits_sgd.py'
optim_wrapper = dict(type='ESAMOptimWrapper', rho=0.05, beta=0.5, gamma=0.5)
