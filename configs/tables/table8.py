_base_ = './smoke/scenes.py'
title = 'SAM and AT for semantic segmentation on Stanford Background'
config = 'deeplabv3_stanford_sgd.py'
metric = 'mIoU'
columns = {'natural': [], 'linf-PGD': ['pgd-linf'], 'l2-PGD': ['pgd-l2']}
rows = [
    dict(method='SGD', published=[64.0, 57.3, 57.0]),
    dict(method='Adam', published=[62.2, 57.1, 56.8]),
    dict(method='SAM', rho=0.01, published=[64.3, 58.2, 58.0]),
    dict(method='SAM', rho=0.02, published=[64.8, 58.7, 57.6]),
    dict(method='SAM', rho=0.03, published=[64.5, 58.3, 58.0]),
    dict(method='SAM', rho=0.04, published=[64.6, 57.9, 57.6]),
    dict(method='SAM', rho=0.05, published=[64.6, 57.8, 57.4]),
    dict(method='linf-AT', eps='1/255', published=[59.9, 59.0, 59.2]),
    dict(method='linf-AT', eps='2/255', published=[58.2, 57.7, 57.8]),
    dict(method='linf-AT', eps='4/255', published=[55.3, 54.9, 55.1]),
    dict(method='linf-AT', eps='8/255', published=[57.5, 55.1, 54.9]),
]
