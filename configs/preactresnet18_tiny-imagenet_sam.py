_base_ = './preactresnet18_tiny-imagenet_sgd.py'
optim_wrapper = dict(type='SAMOptimWrapper', rho=0.1)
