_base_ = [
    './_base_/models/distilbert-small.py',
    './_base_/datasets/rotten-tomatoes_small.py',
    './_base_/schedules/distilbert-small_4e.py',
    './_base_/runtimes/text.py',
]
