source = 'Pintor et al., NeurIPS 2021 (FMN); steps of its authors, the usual radius of adversarial training'
attack = dict(type='FMN', norm='linf', eps='8/255', steps=100)
