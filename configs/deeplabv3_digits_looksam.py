_base_ = './deeplabv3_digits_sgd.py'
optim_wrapper = dict(type='SAMOptimWrapper', perturbation=dict(type='LookSAM', rho=0.05, interval=5))
