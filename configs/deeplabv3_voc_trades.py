_base_ = ['./deeplabv3_voc_sgd.py', './_base_/perturbations/trades-linf.py']
