# Budget "smoke" of the text table: the real sentences, a small DistilBERT with random weights, a part of the test set.
seeds = [0, 1, 2]
smoke = dict(
    description='A small DistilBERT from random weights, whose first epoch takes the place of pretraining and is the '
    'same for all rows, and some of the sentences: compare the rows, not their values.',
    attacks_per_process=2,
    methods=dict(SAM=dict(optim_wrapper=dict(start_iter=267))),  # see distilbert-small_rotten-tomatoes_sam.py
    config='distilbert-small_rotten-tomatoes_adamw.py',
    max_samples=200,
)
short = dict(description='A third of the schedule, one epoch: the published numbers come from all of it.', share=0.34)
