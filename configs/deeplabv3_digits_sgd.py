_base_ = [
    './_base_/models/deeplabv3_r18-small.py',
    './_base_/datasets/digits.py',
    './_base_/schedules/digits.py',
    './_base_/runtimes/segmentation.py',
]
default_hooks = dict(checkpoint=dict(interval=100))
