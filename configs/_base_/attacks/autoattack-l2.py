source = 'Croce & Hein, ICML 2020 (standard version); radius of the duality paper for CIFAR, table 2'
attack = dict(type='AutoAttack', norm='l2', eps='32/255')
