source = 'Croce and Hein, ICML 2020; radius of the duality paper for CIFAR, table 2'
attack = dict(type='APGD', norm='l2', eps='32/255', steps=100)
