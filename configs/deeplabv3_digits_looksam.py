_base_ = './deeplabv3_digits_sgd.py'
# With batches of 8, v changes at every ascent (benchmarks/looksam_direction.py). The published alpha of 0.7 makes it
# many times longer than in SAM's gradient, and does not train here (docs/results/flatness.md).
optim_wrapper = dict(type='SAMOptimWrapper', perturbation=dict(type='LookSAM', rho=0.05, interval=5, alpha=0.1))
