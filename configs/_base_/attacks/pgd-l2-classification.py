source = 'Madry et al., ICLR 2018; settings of the duality paper for CIFAR, table 2 (step eps/4)'
attack = dict(type='PGD', norm='l2', eps='32/255', steps=10, goal='error')
