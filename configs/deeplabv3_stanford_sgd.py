# The backbone starts from random weights, as in the paper.
_base_ = [
    './_base_/models/deeplabv3_r50-d16.py',
    './_base_/datasets/stanford.py',
    './_base_/schedules/segmentation_30k.py',
    './_base_/runtimes/segmentation.py',
]
