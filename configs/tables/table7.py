_base_ = './smoke/handwriting.py'
title = 'Natural and robust accuracy on Tiny ImageNet'
config = 'preactresnet18_tiny-imagenet_sgd.py'
metric = 'accuracy/top1'
columns = {'natural': [], 'AutoAttack': ['autoattack-l2'], 'StAdv': ['stadv']}
rows = [
    dict(method='SGD', published=[57.4, 2.5, 3.4]),
    dict(method='SAM', rho=0.4, published=[57.9, 10.3, 13.3]),
    dict(method='SAM', rho=0.5, published=[57.7, 10.4, 12.7]),
    dict(method='linf-AT', eps='8/255', published=[32.3, 27.7, 25.1]),
    dict(method='l2-AT', eps='128/255', published=[41.6, 32.8, 30.2]),
]
