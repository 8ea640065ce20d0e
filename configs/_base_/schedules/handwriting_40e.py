# As cifar_100e.py in 40 epochs: SGD from 0.1, divided by 10 at epochs 30 and 36.
_base_ = './cifar_100e.py'
param_scheduler = [dict(type='MultiStepLR', by_epoch=True, milestones=[30, 36], gamma=0.1)]
train_cfg = dict(max_epochs=40, val_interval=40)
auto_scale_lr = dict(enable=False, base_batch_size=64)  # for --auto-scale-lr
