"""Small models of sentences and data for them, which the tests of text share."""

from pathlib import Path
from typing import Any

import torch
from mmengine.model import BaseModel
from mmpretrain.structures import DataSample
from torch import Tensor

from samat_mm.text import DistilBertClassifier

TOKENS = 40
WITHOUT_DROPOUT = dict(dropout=0.0, attention_dropout=0.0, seq_classif_dropout=0.0)
GOOD = ['a warm , funny film', 'wise and tender', 'a funny cast shines', 'warm to the end', 'tender , and wise']
BAD = ['dull and slow', 'a cold , dull film', 'the cast is lost', 'slow to the end', 'lost , and cold throughout']


def small_model(seed: int = 0, **architecture: Any) -> DistilBertClassifier:
    """A DistilBERT of two layers and eight channels, without dropout."""
    torch.manual_seed(seed)
    sizes = dict(vocab_size=TOKENS, max_position_embeddings=24, dim=8, n_layers=2, n_heads=2, hidden_dim=16)
    model = DistilBertClassifier(architecture={**sizes, 'initializer_range': 0.3, **WITHOUT_DROPOUT, **architecture})
    for parameter in model.parameters():  # biases too, which start at 0
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, float(parameter.detach().mean()), 0.1)
    return model


def token_rows(*lengths: int, seed: int = 0) -> list[Tensor]:
    """Random tokens of sentences of these lengths, none of them padding."""
    numbers = torch.Generator().manual_seed(seed)
    return [torch.randint(1, TOKENS, (length,), generator=numbers) for length in lengths]


def raw_batch(*lengths: int, seed: int = 0) -> dict[str, Any]:
    """A batch as a data set gives it, of labels 0, 1, 0 ..."""
    rows = token_rows(*lengths, seed=seed)
    return dict(inputs=rows, data_samples=[DataSample().set_gt_label(row % 2) for row in range(len(rows))])


def prepared(model: BaseModel, *lengths: int, seed: int = 0) -> dict[str, Any]:
    """The arguments of a forward."""
    return model.data_preprocessor(raw_batch(*lengths, seed=seed), True)


def write_reviews(root: Path, copies: int = 2) -> Path:
    """Write the files of Rotten Tomatoes with a few sentences; returns the folder."""
    root.mkdir(parents=True, exist_ok=True)
    for name, sentences in (('pos', GOOD), ('neg', BAD)):
        (root / f'rt-polarity.{name}').write_text('\n'.join(sentences * copies) + '\n', encoding='cp1252')
    return root
