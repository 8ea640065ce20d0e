_base_ = './smoke/sentences.py'
title = 'Natural accuracy and attack success rate on Rotten Tomatoes'
config = 'distilbert_rotten-tomatoes_adamw.py'
metric = 'accuracy/top1'
columns = {
    'natural': [],
    'PSO ASR': ['pso'],
    'IGA ASR': ['iga'],
    'PSO queries': ['pso'],
    'IGA queries': ['iga'],
    'PSO words changed': ['pso'],
    'IGA words changed': ['iga'],
}
column_metrics = {
    'PSO ASR': 'success_rate',
    'IGA ASR': 'success_rate',
    'PSO queries': 'queries',
    'IGA queries': 'queries',
    'PSO words changed': 'changed_words',
    'IGA words changed': 'changed_words',
}
rows = [
    dict(method='AdamW', published=[84.4, 22.7, 84.1, None, None, None, None]),
    dict(method='SAM', rho=0.05, published=[84.6, 17.1, 74.5, None, None, None, None]),
]
