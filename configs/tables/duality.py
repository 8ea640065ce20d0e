# Is the robustness that SAM brings real? Questions of published work (Walter et al., arXiv 2510.14231; Uncanny Valley,
# 2405.16918; Gubri et al., 2304.02688) to the models of table 2, and to SAM and adversarial training together.
_base_ = './smoke/handwriting.py'
title = 'Does the robustness of SAM survive a closer look?'
config = 'preactresnet18_cifar10_sgd.py'
metric = 'accuracy/top1'
metrics = [dict(type='CalibrationError')]
examinations = ['sanity', 'sharpness']
pgd = dict(type='PGD', norm='linf', eps='1/255', steps=10, goal='error')
attacks = {
    'pgd': pgd,
    'autoattack-x0.5': dict(type='AutoAttack', norm='linf', eps='0.5/255'),
    'autoattack': dict(type='AutoAttack', norm='linf', eps='1/255'),
    'autoattack-x2': dict(type='AutoAttack', norm='linf', eps='2/255'),
    'autoattack-x4': dict(type='AutoAttack', norm='linf', eps='4/255'),
    'autoattack-x8': dict(type='AutoAttack', norm='linf', eps='8/255'),
    'pgd-confidence': dict(type='ScaledLogits', confidence=0.9, attack=pgd),
    'pgd-logits-x0.1': dict(type='ScaledLogits', scale=0.1, attack=pgd),
    'pgd-on-sgd': pgd,
    'fab': dict(type='FAB', norm='linf', eps='16/255', steps=100),
    'fmn': dict(type='FMN', norm='linf', eps='16/255', steps=100),
}
labels = {
    'pgd': 'PGD',
    'autoattack': 'AutoAttack',
    'pgd-confidence': 'PGD at confidence 0.9',
    'pgd-logits-x0.1': 'PGD on a tenth of the logits',
    'pgd-on-sgd': 'PGD made on SGD',
    'fab': 'FAB',
    'fmn': 'FMN',
}
surrogates = {'pgd-on-sgd': 'SGD'}
columns = {
    'natural': [],
    'PGD': ['pgd'],
    'AutoAttack x 0.5': ['autoattack-x0.5'],
    'AutoAttack': ['autoattack'],
    'AutoAttack x 2': ['autoattack-x2'],
    'AutoAttack x 4': ['autoattack-x4'],
    'AutoAttack x 8': ['autoattack-x8'],
}
rows = [
    dict(method='SGD'),
    dict(method='SAM', rho=0.1),
    dict(method='SAM', rho=0.2),
    dict(method='SAM', rho=0.3),
    dict(method='SAM', rho=0.4),
    dict(method='linf-AT', eps='8/255'),
    dict(method='SAM + linf-AT', rho=0.1, eps='8/255'),
]
roles = dict(reference='SGD', claim='SAM', yardstick='linf-AT_eps-8_255', attack='pgd')
questions = [
    dict(ask='strength', weak='pgd', strong='autoattack'),
    dict(ask='radius', attacks=['autoattack-x0.5', 'autoattack', 'autoattack-x2', 'autoattack-x4', 'autoattack-x8']),
    dict(ask='confidence', attacks=['pgd-confidence', 'pgd-logits-x0.1']),
    dict(ask='distance', attacks=['fab', 'fmn']),
    dict(ask='transfer', own='pgd', transferred='pgd-on-sgd'),
    dict(ask='calibration', attack='pgd'),
    dict(ask='flatness', attack='autoattack'),
    dict(ask='sanity'),
    dict(ask='cost', attack='autoattack'),
]
fast = dict(steps=20, queries=200)
smoke = dict(
    attacks={
        'autoattack-x0.5': fast,
        'autoattack': fast,
        'autoattack-x2': fast,
        'autoattack-x4': fast,
        'autoattack-x8': fast,
        'fab': dict(steps=30),
    }
)
