source = 'Andriushchenko et al., ECCV 2020; radius of the duality paper for linf, table 2'
attack = dict(type='Square', norm='linf', eps='1/255', queries=5000)
