# Table 8 on the real data with what two CPU cores can do in an hour, and a row of l2-AT, which the paper does not have.
_base_ = '../../../configs/tables/table8.py'
rows = [*_base_.rows, dict(method='l2-AT', eps='128/255')]
short = dict(
    _delete_=True,
    description='DeepLabv3-MobileNetV2 from ImageNet weights, 250 iterations of 8 crops of 96 pixels from images with '
    'a short side of 96 pixels; the paper trains a ResNet-50 for 30,000 iterations of 16 crops of 240 pixels.',
    config='../deeplabv3-mobilenetv2_stanford-96_sgd.py',
)
