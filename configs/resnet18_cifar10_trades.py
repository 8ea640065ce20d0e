_base_ = ['./resnet18_cifar10_sgd.py', './_base_/perturbations/trades-linf.py']
