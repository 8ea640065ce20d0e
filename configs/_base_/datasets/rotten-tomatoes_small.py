# Rotten Tomatoes as tokens of a vocabulary that is trained on its training sentences.
_base_ = './rotten-tomatoes.py'
pipeline = [
    dict(
        type='Tokenize',
        tokenizer=dict(
            type='TrainedTokenizer',
            dataset=dict(type='RottenTomatoes', data_root='data/rotten_tomatoes', split='train'),
            size=6000,
        ),
        max_length=128,
    ),
    dict(type='PackText'),
]
train_dataloader = dict(batch_size=32, num_workers=0, persistent_workers=False, dataset=dict(pipeline=pipeline))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(pipeline=pipeline))
test_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(pipeline=pipeline))
