_base_ = './deeplabv3_digits_sgd.py'
custom_hooks = [
    dict(
        type='AdversarialTrainingHook',
        attack=dict(type='PGD', norm='linf', eps='1/255', step_size='0.5/255', steps=5),
    )
]
