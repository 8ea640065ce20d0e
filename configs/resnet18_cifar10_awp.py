_base_ = './resnet18_cifar10_pgd-at.py'
# Adversarial weight perturbation on the adversarial images, from epoch 10 of 100 on (391 steps each).
optim_wrapper = dict(type='SAMOptimWrapper', perturbation=dict(type='AWP', rho=0.005), start_iter=3910)
