source = 'Agnihotri et al., ICML 2024 (step .01 at 8/255); radius of the duality paper, tables 8 and 9'
attack = dict(type='CosPGD', norm='linf', eps='1/255', steps=10)
