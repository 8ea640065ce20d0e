_base_ = './resnet20_cifar10-subset_sgd.py'
optim_wrapper = dict(type='ESAMOptimWrapper', rho=0.1, beta=0.5, gamma=0.5)
