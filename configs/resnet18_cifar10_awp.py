_base_ = './resnet18_cifar10_pgd-at.py'
# Adversarial weight perturbation on the adversarial images, as in the authors' combination with PGD-AT.
optim_wrapper = dict(type='SAMOptimWrapper', perturbation=dict(type='AWP', rho=0.01))
