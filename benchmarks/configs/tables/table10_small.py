# Table 10 at the budget smoke, with another radius of SAM and adversarial training on embeddings. The budget scales rho
# by 0.2: SAM runs with 0.005 and 0.01.
_base_ = '../../../configs/tables/table10.py'
title = 'Natural accuracy and attack success rate of a small DistilBERT on Rotten Tomatoes'
rows = [
    dict(method='AdamW'),
    dict(method='SAM', rho=0.025),
    dict(method='SAM', rho=0.05),
    dict(method='FGM', eps=0.2),
]
