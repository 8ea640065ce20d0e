source = 'Agnihotri et al., ICML 2024 (step .1 at 64/255); radius of the duality paper, tables 8 and 9'
attack = dict(type='CosPGD', norm='l2', eps='255/255', steps=10)
