source = 'Pomponi et al., IJCNN 2022; at most 5 iterations per restart, as in the duality paper for CIFAR'
attack = dict(type='Pixle', restarts=20, iterations=5)
