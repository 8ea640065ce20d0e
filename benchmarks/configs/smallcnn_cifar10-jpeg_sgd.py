# As smallcnn_cifar10-subset_sgd.py on all 50,000 training images in jpeg form, and as many steps.
_base_ = './smallcnn_cifar10-subset_sgd.py'
train_dataloader = dict(dataset=dict(data_root='data/cifar10_jpeg/train'))
val_dataloader = dict(dataset=dict(data_root='data/cifar10_jpeg/test'))
test_dataloader = dict(dataset=dict(data_root='data/cifar10_jpeg/test'))
