source = 'Croce and Hein, ICML 2020; radius of the duality paper, tables 2, 8 and 9'
attack = dict(type='APGD', norm='linf', eps='1/255', steps=100)
