source = 'Xiao et al., ICLR 2018; the bounded form and the settings of the duality paper for CIFAR'
attack = dict(type='StAdv', form='bounded', steps=10, step_size=1e-3, bound='1/255', weight=0.05)
