source = 'Madry et al., ICLR 2018; settings of the duality paper for segmentation, tables 8 and 9 (step eps/4)'
attack = dict(type='PGD', norm='l2', eps='255/255', steps=10)
