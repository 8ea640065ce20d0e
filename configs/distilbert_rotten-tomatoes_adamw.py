_base_ = [
    './_base_/models/distilbert.py',
    './_base_/datasets/rotten-tomatoes.py',
    './_base_/schedules/distilbert_3e.py',
    './_base_/runtimes/text.py',
]
