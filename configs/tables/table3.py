_base_ = './table2.py'
title = 'Natural and robust accuracy on CIFAR-100'
config = 'preactresnet18_cifar100_sgd.py'
rows = [
    dict(method='SGD', published=[76.5, 30.9, 13.3, 17.0, 11.4, 14.5, 16.9, 1.8, 15.1]),
    dict(method='Adam', published=[76.0, 20.5, 5.3, 5.8, 3.4, 7.4, 8.4, 1.3, 7.4]),
    dict(method='SAM', rho=0.1, published=[77.7, 36.3, 20.3, 24.1, 19.6, 20.9, 24.5, 3.4, 21.3]),
    dict(method='SAM', rho=0.2, published=[78.8, 38.1, 22.9, 25.6, 20.2, 23.7, 25.2, 3.7, 22.8]),
    dict(method='SAM', rho=0.3, published=[78.7, 40.2, 25.5, 28.1, 22.6, 26.4, 27.5, 4.3, 24.9]),
    dict(method='SAM', rho=0.4, published=[78.7, 41.8, 29.5, 31.8, 25.4, 29.4, 30.0, 5.4, 27.6]),
    dict(method='linf-AT', eps='8/255', published=[58.3, 55.1, 55.0, 53.8, 52.4, 50.6, 52.7, 7.3, 46.7]),
    dict(method='l2-AT', eps='128/255', published=[64.2, 56.6, 56.6, 58.1, 57.5, 52.2, 58.2, 10.5, 49.9]),
]
