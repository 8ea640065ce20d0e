_base_ = './table8.py'
title = 'SAM and AT for semantic segmentation on PASCAL VOC 2012'
config = 'deeplabv3_voc_sgd.py'
rows = [
    dict(method='SGD', published=[66.9, 37.7, 47.1]),
    dict(method='Adam', published=[65.2, 28.9, 36.9]),
    dict(method='SAM', rho=0.01, published=[67.9, 38.9, 48.6]),
    dict(method='SAM', rho=0.02, published=[67.7, 40.2, 50.1]),
    dict(method='SAM', rho=0.03, published=[68.3, 38.8, 49.9]),
    dict(method='SAM', rho=0.04, published=[67.5, 39.1, 49.1]),
    dict(method='SAM', rho=0.05, published=[68.6, 40.4, 50.6]),
    dict(method='linf-AT', eps='1/255', published=[50.8, 50.2, 50.4]),
    dict(method='linf-AT', eps='2/255', published=[49.2, 48.7, 49.0]),
    dict(method='l2-AT', eps='64/255', published=[60.3, 56.9, 58.4]),
    dict(method='l2-AT', eps='128/255', published=[56.5, 54.3, 55.2]),
    dict(method='l2-AT', eps='255/255', published=[53.7, 52.3, 52.8]),
]
