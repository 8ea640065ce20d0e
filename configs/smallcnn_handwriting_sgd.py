_base_ = [
    './_base_/models/smallcnn.py',
    './_base_/datasets/handwriting.py',
    './_base_/schedules/handwriting_40e.py',
    './_base_/runtimes/classification.py',
]
default_hooks = dict(checkpoint=dict(interval=10))
