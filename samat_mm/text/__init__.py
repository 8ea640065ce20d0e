"""Text classifiers, registered in MMEngine's root registries by ``custom_imports = dict(imports=['samat_mm.text'])``.

Their packages come with ``pip install samat-mm[text]``; they are imported when a tokenizer or a model is built.
"""

from samat_mm import words  # noqa: F401  (registers the attacks)
from samat_mm.text.attack_test_loop import TextAttackTestLoop
from samat_mm.text.digest import digest_of
from samat_mm.text.distilbert import DistilBertClassifier
from samat_mm.text.preprocessor import TextDataPreprocessor
from samat_mm.text.tokenizers import pretrained_tokenizer, train_tokenizer, trained_tokenizer
from samat_mm.text.transforms import PackText, Tokenize

__all__ = [
    'DistilBertClassifier',
    'PackText',
    'TextAttackTestLoop',
    'TextDataPreprocessor',
    'Tokenize',
    'digest_of',
    'pretrained_tokenizer',
    'train_tokenizer',
    'trained_tokenizer',
]
