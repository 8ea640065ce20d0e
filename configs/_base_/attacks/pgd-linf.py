source = 'Madry et al., ICLR 2018; settings of the duality paper, tables 2, 8 and 9 (step eps/4)'
attack = dict(type='PGD', norm='linf', eps='1/255', steps=10, goal='error')
