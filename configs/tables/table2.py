_base_ = './smoke/handwriting.py'
title = 'Natural and robust accuracy on CIFAR-10'
config = 'preactresnet18_cifar10_sgd.py'
metric = 'accuracy/top1'
columns = {
    'natural': [],
    'FGSM': ['fgsm-linf'],
    'linf-PGD': ['pgd-linf'],
    'l2-PGD': ['pgd-l2-classification'],
    'AutoAttack': ['autoattack-l2'],
    'StAdv': ['stadv'],
    'FAB': ['fab-l2'],
    'Pixle': ['pixle'],
    'average': ['fgsm-linf', 'pgd-linf', 'pgd-l2-classification', 'autoattack-l2', 'stadv', 'fab-l2', 'pixle'],
}
rows = [
    dict(method='SGD', published=[94.5, 63.4, 37.9, 41.5, 31.7, 35.2, 44.8, 10.0, 37.8]),
    dict(method='Adam', published=[93.9, 44.3, 17.4, 20.7, 13.9, 20.4, 24.7, 7.6, 21.3]),
    dict(method='SAM', rho=0.1, published=[95.4, 63.3, 46.2, 48.7, 43.6, 39.3, 49.2, 13.4, 43.4]),
    dict(method='SAM', rho=0.2, published=[95.5, 66.7, 51.3, 53.4, 48.1, 44.2, 53.4, 13.2, 47.2]),
    dict(
        method='SAM',
        rho=0.3,
        published=[95.4, 66.6, 51.2, 53.5, 47.8, 46.1, 53.8, 13.7, 47.5],
        notes={'AutoAttack': 'table 5 of the paper has 57.8 in this place'},
    ),
    dict(method='SAM', rho=0.4, published=[94.7, 69.6, 56.4, 58.6, 51.8, 54.9, 57.6, 14.3, 51.9]),
    dict(
        method='linf-AT',
        eps='8/255',
        published=[84.5, 81.9, 81.8, 79.7, 79.5, 82.0, 79.5, 26.9, 73.0],
        notes={'AutoAttack': 'table 6 of the paper has 81.4 in this place'},
    ),
    dict(method='l2-AT', eps='128/255', published=[89.2, 84.1, 84.1, 84.8, 84.8, 80.4, 84.8, 32.0, 76.4]),
]
