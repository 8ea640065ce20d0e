_base_ = './resnet18_cifar10_sgd.py'
optim_wrapper = dict(type='ASAMOptimWrapper', rho=1.0, eta=0.01)
