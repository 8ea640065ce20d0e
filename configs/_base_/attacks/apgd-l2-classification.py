source = 'Croce and Hein, ICML 2020; radius of the duality paper for CIFAR, table 2'
# A classifier's image is finished once the model gets it wrong: the same accuracy at a lower cost.
attack = dict(type='APGD', norm='l2', eps='32/255', steps=100, goal='error')
