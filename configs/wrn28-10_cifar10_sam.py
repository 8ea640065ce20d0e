_base_ = './wrn28-10_cifar10_sgd.py'
optim_wrapper = dict(type='SAMOptimWrapper', rho=0.1)
