_base_ = [
    './_base_/models/deeplabv3_mobilenetv2-d16.py',
    './_base_/datasets/voc.py',
    './_base_/schedules/segmentation_30k.py',
    './_base_/runtimes/segmentation.py',
]
# The backbone starts from ImageNet weights in a local file; None trains from scratch.
default_hooks = dict(
    pretrained=dict(
        type='PretrainedBackboneHook',
        checkpoint='data/pretrained/mobilenet_v2.pth',
        source="torchvision (the state_dict of mobilenet_v2 with weights='IMAGENET1K_V1') or the model zoo of "
        'mmpretrain (mobilenet-v2_8xb32_in1k)',
    )
)
