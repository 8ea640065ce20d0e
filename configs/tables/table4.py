_base_ = './smoke/handwriting.py'
title = 'SAM and AT with small radii on CIFAR-100'
config = 'preactresnet18_cifar100_sgd.py'
metric = 'accuracy/top1'
columns = {'natural': [], 'AutoAttack': ['autoattack-l2'], 'Pixle': ['pixle']}
rows = [
    dict(method='SGD', published=[76.5, 11.4, 1.8]),
    dict(method='Adam', published=[76.0, 3.4, 1.3]),
    dict(method='SAM', rho=0.4, published=[78.7, 25.4, 5.4]),
    dict(method='SAM', rho=0.5, published=[77.8, 30.1, 8.1]),
    dict(method='linf-AT', eps='1/255', published=[72.1, 58.6, 4.7]),
    dict(method='linf-AT', eps='2/255', published=[69.4, 56.8, 4.2]),
    dict(method='linf-AT', eps='4/255', published=[64.3, 55.7, 6.3]),
    dict(method='linf-AT', eps='8/255', published=[58.3, 52.4, 7.3]),
    dict(method='l2-AT', eps='16/255', published=[74.3, 57.9, 5.7]),
    dict(method='l2-AT', eps='32/255', published=[72.5, 57.2, 5.2]),
    dict(method='l2-AT', eps='64/255', published=[69.0, 57.3, 8.2]),
    dict(method='l2-AT', eps='128/255', published=[64.2, 57.5, 10.5]),
]
