source = 'Zang et al., ACL 2020; settings of TextAttack and of the duality paper, table 10 (there HowNet)'
attack = dict(type='PSO', substitutions=dict(type='WordNet'))
custom_imports = dict(imports=['samat_mm.text'], allow_failed_imports=False)
