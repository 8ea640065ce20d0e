source = 'Wang et al., UAI 2021; settings of TextAttack, which the duality paper ran (table 10, on counter-fitted vectors)'
    'Wang et al., UAI 2021; settings of TextAttack and of the duality paper, table 10 (there counter-fitted vectors)'
)
attack = dict(type='IGA', substitutions=dict(type='WordNet'))
custom_imports = dict(imports=['samat_mm.text'], allow_failed_imports=False)
