# Segmentation on Stanford Background, an hour for six rows and three seeds on a CPU core.
description = (
    'DeepLabv3-MobileNetV2 from ImageNet weights, 250 iterations of 8 crops of 96 pixels from images with a short side '
    'of 96 pixels; the paper trains a ResNet-50 for 30,000 iterations of 16 crops of 240 pixels.'
)
config = '../deeplabv3-mobilenetv2_stanford-96_sgd.py'
max_samples = 48
attacks_per_process = 10
