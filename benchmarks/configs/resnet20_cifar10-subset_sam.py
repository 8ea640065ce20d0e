_base_ = './resnet20_cifar10-subset_sgd.py'
optim_wrapper = dict(type='SAMOptimWrapper', rho=0.1)
