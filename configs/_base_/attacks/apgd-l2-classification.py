source = 'Croce and Hein, ICML 2020; radius of the duality paper for CIFAR, table 2'
# An image of a classifier is done when the model errs on it: the same accuracy for less.
attack = dict(type='APGD', norm='l2', eps='32/255', steps=100, goal='error')
