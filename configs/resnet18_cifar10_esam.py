_base_ = './resnet18_cifar10_sgd.py'
optim_wrapper = dict(type='ESAMOptimWrapper', rho=0.1, beta=0.6, gamma=0.5)
