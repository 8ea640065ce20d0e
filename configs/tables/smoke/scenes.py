# Budget "smoke" of the segmentation tables: the digit scenes and a small DeepLabv3 for a tenth of their schedule.
seeds = [0, 1, 2]
smoke = dict(
    description='Other data (scenes of digits) and a small network: compare the order of the rows, not their values.',
    attacks_per_process=10,
    config='deeplabv3_digits_sgd.py',
    share=0.1,
)
short = dict(description='A tenth of the schedule: the published numbers come from all of it.', share=0.1)
