# As distilbert_3e.py, for random weights: 4 epochs of AdamW at 1e-3.
_base_ = './distilbert_3e.py'
optim_wrapper = dict(optimizer=dict(lr=1e-3, weight_decay=0.01))
param_scheduler = [
    dict(type='LinearLR', start_factor=1.0, end_factor=0.0, begin=0, end=4, by_epoch=True, convert_to_iter_based=True)
]
train_cfg = dict(max_epochs=4, val_interval=1)
auto_scale_lr = dict(enable=False, base_batch_size=32)  # for --auto-scale-lr
