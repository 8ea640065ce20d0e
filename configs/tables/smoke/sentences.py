# Budget "smoke" of the text table: the real sentences, a small DistilBERT with random weights, a part of the test set.
seeds = [0, 1, 2]
smoke = dict(
    description='A small DistilBERT, trained from random weights, and some of the sentences: compare the rows, not '
    'their values with those of the pretrained model.',
    attacks_per_process=2,
    config='distilbert-small_rotten-tomatoes_adamw.py',
    max_samples=200,
)
short = dict(description='A third of the schedule, one epoch: the published numbers come from all of it.', share=0.34)
