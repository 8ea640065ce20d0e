source = 'Croce and Hein, ICML 2020; radius of the duality paper, tables 2, 8 and 9'
# A classifier's image is finished once the model gets it wrong: the same accuracy at a lower cost.
attack = dict(type='APGD', norm='linf', eps='1/255', steps=100, goal='error')
