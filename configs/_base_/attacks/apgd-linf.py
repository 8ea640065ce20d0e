source = 'Croce and Hein, ICML 2020; radius of the duality paper, tables 2, 8 and 9'
# An image of a classifier is done when the model errs on it: the same accuracy for less.
attack = dict(type='APGD', norm='linf', eps='1/255', steps=100, goal='error')
