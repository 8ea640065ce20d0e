_base_ = './resnet20_cifar10-subset_sgd.py'
optim_wrapper = dict(type='ASAMOptimWrapper', rho=1.0)
