_base_ = './deeplabv3_voc_sgd.py'
optim_wrapper = dict(optimizer=dict(_delete_=True, type='Adam', lr=1e-3, weight_decay=1e-4))
