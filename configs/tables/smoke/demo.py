# The picture of table 2 in a few minutes, for `make demo`.
_base_ = './handwriting.py'
title = 'SGD, SAM and adversarial training on handwritten digits'
config = 'preactresnet18_cifar10_sgd.py'
metric = 'accuracy/top1'
columns = {'natural': [], 'linf-PGD': ['pgd-linf'], 'AutoAttack, l2': ['autoattack-l2']}
rows = [dict(method='SGD'), dict(method='SAM', rho=0.4), dict(method='linf-AT', eps='8/255')]
