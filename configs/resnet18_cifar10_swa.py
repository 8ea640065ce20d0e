_base_ = './resnet18_cifar10_sgd.py'
# Stochastic weight averaging (Izmailov et al., 2018): the average of the weights at the end of each epoch of the last
# quarter, at a constant learning rate. MMEngine evaluates and saves the average, which also averages the statistics of
# batch normalisation (the paper recomputes them).
param_scheduler = [dict(type='MultiStepLR', by_epoch=True, milestones=[60], gamma=0.5)]
default_hooks = dict(
    averaging=dict(
        type='EMAHook', ema_type='StochasticWeightAverage', begin_iter=75 * 391, interval=391, update_buffers=True
    )
)
