_base_ = './smoke/handwriting.py'
title = 'Model architectures on CIFAR-10'
metric = 'accuracy/top1'
columns = {'natural': [], 'AutoAttack': ['autoattack-l2'], 'StAdv': ['stadv']}
prn, wrn, deit = 'preactresnet18_cifar10_sgd.py', 'wrn28-10_cifar10_sgd.py', 'deit-tiny_cifar10_sgd.py'
rows = [
    dict(model='PRN-18', config=prn, method='SGD', published=[94.5, 31.7, 35.2]),
    dict(model='PRN-18', config=prn, method='SAM', rho=0.1, published=[95.4, 43.6, 39.3]),
    dict(
        model='PRN-18',
        config=prn,
        method='linf-AT',
        eps='8/255',
        published=[84.5, 81.4, 82.0],
        notes={'AutoAttack': 'table 2 of the paper has 79.5 in this place'},
    ),
    dict(model='WRN-28-10', config=wrn, method='SGD', published=[95.2, 39.6, 38.3]),
    dict(model='WRN-28-10', config=wrn, method='SAM', rho=0.1, published=[95.6, 42.0, 43.0]),
    dict(model='WRN-28-10', config=wrn, method='linf-AT', eps='8/255', published=[87.2, 79.7, 76.6]),
    dict(model='DeiT-tiny', config=deit, method='SGD', published=[69.2, 21.3, 11.2]),
    dict(model='DeiT-tiny', config=deit, method='SAM', rho=0.1, published=[69.4, 24.2, 19.6]),
    dict(model='DeiT-tiny', config=deit, method='linf-AT', eps='8/255', published=[62.2, 51.9, 54.2]),
]
