source = 'Zang et al., ACL 2020; settings of TextAttack, which the duality paper ran (table 10, HowNet)'
attack = dict(type='PSO', substitutions=dict(type='WordNet'))
custom_imports = dict(imports=['samat_mm.words'], allow_failed_imports=False)
