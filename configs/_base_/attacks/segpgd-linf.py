source = (
    'Gu et al., ECCV 2022; step .01 at 8/255 (Agnihotri et al., ICML 2024); radius of the duality paper, tables 8 and 9'
)
attack = dict(type='SegPGD', norm='linf', eps='1/255', steps=10)
