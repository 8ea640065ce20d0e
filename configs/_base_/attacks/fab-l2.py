source = 'Croce & Hein, ICML 2020 (FAB); radius and steps of the duality paper for CIFAR'
attack = dict(type='FAB', norm='l2', eps='32/255', steps=10)
