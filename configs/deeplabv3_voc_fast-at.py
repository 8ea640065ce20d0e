_base_ = ['./deeplabv3_voc_sgd.py', './_base_/perturbations/fast-at-linf.py']
