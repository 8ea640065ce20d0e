_base_ = './deeplabv3_digits_sgd.py'
# With batches of 8, v differs at every ascent (benchmarks/looksam_direction.py); the published alpha of 0.7 gives
# it many times its length in the gradient of SAM, and does not train here (docs/results.md).
optim_wrapper = dict(type='SAMOptimWrapper', perturbation=dict(type='LookSAM', rho=0.05, interval=5, alpha=0.1))
