_base_ = './deeplabv3_digits_sgd.py'
# Stochastic weight averaging (Izmailov et al., 2018): the average of every tenth iterate of the last quarter, at a
# constant learning rate. MMEngine evaluates and saves the average, which also averages the statistics of
# batch normalisation (the paper recomputes them).
param_scheduler = [
    dict(type='LinearLR', start_factor=0.02, begin=0, end=50, by_epoch=False),
    dict(type='PolyLR', eta_min=0.05, power=1, begin=50, end=750, by_epoch=False),
]
default_hooks = dict(
    averaging=dict(type='EMAHook', ema_type='StochasticWeightAverage', begin_iter=750, interval=10, update_buffers=True)
)
