# Budget "smoke" of the text table: the real sentences, a small DistilBERT with random weights, a part of the test set.
seeds = [0, 1, 2]
smoke = dict(
    description='A small DistilBERT, trained from random weights, rho scaled by 0.2 for it, and some of the sentences: '
    'compare the rows, not their values with those of the pretrained model.',
    attacks_per_process=2,
    training_radii=dict(rho=0.2),  # at 0.05 SAM does not leave the plateau at the random weights
    config='distilbert-small_rotten-tomatoes_adamw.py',
    max_samples=200,
)
short = dict(description='A third of the schedule, one epoch: the published numbers come from all of it.', share=0.34)
