_base_ = './deeplabv3_voc_sgd.py'
# Free adversarial training (Shafahi et al., NeurIPS 2019) with the parameters of the paper, as cheap as plain training.
train_cfg = dict(type='FreeIterBasedTrainLoop')
