_base_ = './deit-tiny_cifar10_sgd.py'
optim_wrapper = dict(type='SAMOptimWrapper', rho=0.1)
