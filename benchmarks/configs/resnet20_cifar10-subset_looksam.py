_base_ = './resnet20_cifar10-subset_sgd.py'
optim_wrapper = dict(type='SAMOptimWrapper', perturbation=dict(type='LookSAM', rho=0.1, interval=5))
