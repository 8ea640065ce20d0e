_base_ = './smoke/handwriting.py'
title = 'Variants of SAM on CIFAR-10'
config = 'preactresnet18_cifar10_sgd.py'
metric = 'accuracy/top1'
columns = {'natural': [], 'AutoAttack': ['autoattack-l2'], 'StAdv': ['stadv']}
rows = [
    dict(method='SGD', published=[94.5, 31.7, 35.2]),
    dict(method='Adam', published=[93.9, 13.9, 20.4]),
    dict(method='SAM', rho=0.1, published=[95.4, 43.6, 39.3]),
    dict(method='SAM', rho=0.2, published=[95.5, 48.1, 44.2]),
    dict(
        method='SAM',
        rho=0.3,
        published=[95.4, 57.8, 46.1],
        notes={'AutoAttack': 'table 2 of the paper has 47.8 in this place'},
    ),
    dict(method='SAM', rho=0.4, published=[94.7, 51.8, 54.9]),
    dict(method='SAM', rho=0.5, published=[94.5, 58.4, 55.8]),
    dict(method='ESAM', rho=0.1, published=[95.4, 41.0, 37.7]),
    dict(method='ESAM', rho=0.2, published=[95.6, 47.5, 43.0]),
    dict(method='ESAM', rho=0.3, published=[95.2, 53.1, 48.2]),
    dict(method='ESAM', rho=0.4, published=[94.7, 51.6, 49.6]),
    dict(method='ESAM', rho=0.5, published=[94.4, 53.6, 49.3]),
    dict(method='ASAM', rho=0.1, published=[95.2, 36.4, 35.6]),
    dict(method='ASAM', rho=0.2, published=[95.3, 39.0, 34.3]),
    dict(method='ASAM', rho=0.3, published=[95.4, 39.9, 34.7]),
    dict(method='ASAM', rho=0.4, published=[95.5, 40.4, 35.6]),
    dict(method='ASAM', rho=0.5, published=[95.7, 44.2, 36.6]),
]
