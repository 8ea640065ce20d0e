_base_ = './classification.py'
custom_imports = dict(imports=['samat_mm', 'samat_mm.text'], allow_failed_imports=False)
