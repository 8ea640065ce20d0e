_base_ = ['./deeplabv3_digits_sgd.py', './_base_/perturbations/segpgd-at-linf.py']
