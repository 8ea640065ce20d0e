# The duality paper, section 5.3: 3 epochs of AdamW at 5e-5. The rest, which it leaves open, is what the Trainer of
# transformers does by default: batches of 8, linear decay to 0, no weight decay, gradients of at most length 1.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=5e-5, weight_decay=0.0),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1.0, end_factor=0.0, begin=0, end=3, by_epoch=True, convert_to_iter_based=True)
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=3, val_interval=1)
val_cfg = dict()
test_cfg = dict(type='TextAttackTestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=8)  # for --auto-scale-lr
