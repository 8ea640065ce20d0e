source = 'Wang et al., UAI 2021; settings of TextAttack, which the duality paper ran (table 10, counter-fitted vectors)'
attack = dict(type='IGA', substitutions=dict(type='WordNet'))
custom_imports = dict(imports=['samat_mm.words'], allow_failed_imports=False)
