_base_ = './resnet18_cifar10_sgd.py'
optim_wrapper = dict(type='SAMOptimWrapper', perturbation=dict(type='LookSAM', rho=0.1, interval=5))
