source = 'Croce et al., ECCV 2024 (300 steps for each of three losses); radius of the duality paper, tables 8 and 9'
attack = dict(type='SEA', norm='linf', eps='1/255', steps=300)
