"""The packages of the text extra, of which nothing is needed before a tokenizer or a model is built."""

import ast
import subprocess
import sys

import pytest
from helpers import ROOT

EXTRA = ('transformers', 'tokenizers', 'safetensors', 'huggingface_hub')

WITHOUT = f"""
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {EXTRA}:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)

sys.meta_path.insert(0, Refuse())
import samat_mm.text
from mmengine.registry import MODELS, TASK_UTILS, TRANSFORMS
from samat_mm.errors import MissingPackageError

assert TRANSFORMS.get('Tokenize') and MODELS.get('TextDataPreprocessor')
for build, package in (
    (lambda: MODELS.build(dict(type='DistilBertClassifier')), 'transformers'),
    (lambda: samat_mm.text.train_tokenizer(['a good film'], 50), 'tokenizers'),
):
    try:
        build()
    except MissingPackageError as error:
        assert f'need the package {{package}}' in str(error) and 'pip install samat-mm[text]' in str(error), error
    else:
        raise AssertionError(package)
"""


def test_without_them_text_is_registered_and_says_what_to_install():
    command = [sys.executable, '-W', 'ignore', '-c', WITHOUT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def names_imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)


@pytest.mark.parametrize('package', EXTRA)
def test_no_module_imports_them_by_itself(package):
    asking = [
        str(path) for path in ROOT.glob('samat_mm/**/*.py') for name in names_imported(path) if name.startswith(package)
    ]
    assert asking == []
