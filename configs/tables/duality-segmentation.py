# The questions of duality.py to segmentors: SEA in the place of AutoAttack, and CosPGD.
_base_ = './smoke/scenes.py'
title = 'Does the robustness of SAM survive a closer look? (semantic segmentation)'
config = 'deeplabv3_stanford_sgd.py'
metric = 'mIoU'
metrics = [dict(type='CalibrationError')]
examinations = ['sanity', 'sharpness']
pgd = dict(type='PGD', norm='linf', eps='1/255', steps=10)
attacks = {
    'pgd': pgd,
    'cospgd': dict(type='CosPGD', norm='linf', eps='1/255', steps=20),
    'sea-x0.5': dict(type='SEA', norm='linf', eps='0.5/255'),
    'sea': dict(type='SEA', norm='linf', eps='1/255'),
    'sea-x2': dict(type='SEA', norm='linf', eps='2/255'),
    'sea-x4': dict(type='SEA', norm='linf', eps='4/255'),
    'sea-x8': dict(type='SEA', norm='linf', eps='8/255'),
    'pgd-confidence': dict(type='ScaledLogits', confidence=0.9, attack=pgd),
    'pgd-logits-x0.1': dict(type='ScaledLogits', scale=0.1, attack=pgd),
    'pgd-on-sgd': pgd,
}
labels = {
    'pgd': 'PGD',
    'cospgd': 'CosPGD',
    'sea': 'SEA',
    'pgd-confidence': 'PGD at confidence 0.9',
    'pgd-logits-x0.1': 'PGD on a tenth of the logits',
    'pgd-on-sgd': 'PGD made on SGD',
}
surrogates = {'pgd-on-sgd': 'SGD'}
columns = {
    'natural': [],
    'PGD': ['pgd'],
    'CosPGD': ['cospgd'],
    'SEA x 0.5': ['sea-x0.5'],
    'SEA': ['sea'],
    'SEA x 2': ['sea-x2'],
    'SEA x 4': ['sea-x4'],
    'SEA x 8': ['sea-x8'],
}
rows = [
    dict(method='SGD'),
    dict(method='SAM', rho=0.01),
    dict(method='SAM', rho=0.05),
    dict(method='linf-AT', eps='1/255'),
    dict(method='SAM + linf-AT', rho=0.01, eps='1/255'),
]
roles = dict(reference='SGD', claim='SAM', yardstick='linf-AT_eps-1_255', attack='pgd')
questions = [
    dict(ask='strength', weak='pgd', strong='sea'),
    dict(ask='radius', attacks=['sea-x0.5', 'sea', 'sea-x2', 'sea-x4', 'sea-x8']),
    dict(ask='confidence', attacks=['pgd-confidence', 'pgd-logits-x0.1']),
    dict(ask='transfer', own='pgd', transferred='pgd-on-sgd'),
    dict(ask='calibration', attack='pgd'),
    dict(ask='flatness', attack='sea'),
    dict(ask='sanity'),
    dict(ask='cost', attack='sea'),
]
fast = dict(steps=10)
smoke = dict(
    max_samples=20,
    attacks={'sea-x0.5': fast, 'sea': fast, 'sea-x2': fast, 'sea-x4': fast, 'sea-x8': fast},
)
