_base_ = './preactresnet18_cifar100_sgd.py'
optim_wrapper = dict(type='SAMOptimWrapper', rho=0.1)
