# Rotten Tomatoes: sentences of film reviews, positive or negative, as tokens of distilbert-base-uncased.
data_root = 'data/rotten_tomatoes'
pipeline = [
    dict(
        type='Tokenize',
        tokenizer=dict(type='PretrainedTokenizer', folder='data/pretrained/distilbert-base-uncased'),
        max_length=128,
    ),
    dict(type='PackText'),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='RottenTomatoes', data_root=data_root, split='train', pipeline=pipeline),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='RottenTomatoes', data_root=data_root, split='val', test_mode=True, pipeline=pipeline),
)
test_dataloader = dict(
    batch_size=64,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='RottenTomatoes', data_root=data_root, split='test', test_mode=True, pipeline=pipeline),
)
val_evaluator = dict(type='Accuracy', topk=(1,))
test_evaluator = val_evaluator
