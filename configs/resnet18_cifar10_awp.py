_base_ = './resnet18_cifar10_pgd-at.py'
# Adversarial weight perturbation on the adversarial images, as its authors combine it with PGD-AT.
optim_wrapper = dict(type='SAMOptimWrapper', perturbation=dict(type='AWP', rho=0.01))
