_base_ = './resnet18_cifar10_sgd.py'
custom_hooks = [
    dict(
        type='AdversarialTrainingHook',
        attack=dict(type='PGD', norm='linf', eps='8/255', step_size='2/255', steps=10),
    )
]
