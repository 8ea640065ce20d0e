_base_ = './resnet18_cifar10_sgd.py'
# Free adversarial training (Shafahi et al., NeurIPS 2019) with the parameters of the paper, as cheap as plain training.
train_cfg = dict(type='FreeEpochBasedTrainLoop')
