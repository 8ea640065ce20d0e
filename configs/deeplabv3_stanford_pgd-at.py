_base_ = ['./deeplabv3_stanford_sgd.py', './_base_/perturbations/pgd-at-linf.py']
