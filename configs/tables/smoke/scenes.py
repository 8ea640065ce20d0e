# Budget "smoke" of the segmentation tables: the digit scenes and a small DeepLabv3 for a tenth of their schedule.
seeds = [0, 1, 2]
smoke = dict(config='deeplabv3_digits_sgd.py', share=0.1)
short = dict(share=0.1)
