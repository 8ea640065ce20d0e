source = 'Goodfellow et al., ICLR 2015; radius of the duality paper, table 2'
attack = dict(type='FGSM', norm='linf', eps='1/255')
