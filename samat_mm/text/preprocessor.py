"""A batch of sentences of different lengths as one tensor."""

from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from mmengine.registry import MODELS
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from samat_mm.errors import InputError, UnsupportedError


@MODELS.register_module()
class TextDataPreprocessor(BaseDataPreprocessor):
    """Pads the tokens of a batch to its longest sentence, and says which of them count.

    Args:
        pad_id: number of the token that fills up shorter sentences.
        vocabulary: number of tokens of the model, to refuse others before they reach the device; None for any.
        non_blocking: whether copies to the device may overlap with computation.
    """

    def __init__(self, pad_id: int = 0, vocabulary: int | None = None, non_blocking: bool | None = False) -> None:
        super().__init__(non_blocking)
        self.pad_id, self.vocabulary = pad_id, vocabulary

    def forward(self, data: dict, training: bool = False) -> dict[str, Any]:
        """Return a batch for the model.

        Args:
            data: ``inputs``, a list of the tokens of N sentences, shape (L_i,); ``data_samples``, a list or None.
            training: without effect.

        Returns:
            ``inputs``, shape (N, L); ``attention_mask``, shape (N, L), 1 for tokens and 0 for padding; and
            ``data_samples``.

        Raises:
            TypeError: if the inputs are not tokens.
            ValueError: if a sentence is empty, or a token unknown to the model.
        """
        sentences = data.get('inputs') if isinstance(data, dict) else None
        tokens = list(sentences) if isinstance(sentences, (list, tuple, Tensor)) else []
        if not tokens or not all(isinstance(row, Tensor) and row.ndim == 1 and not _is_real(row) for row in tokens):
            raise UnsupportedError(
                'TextDataPreprocessor expects batches dict(inputs=[tokens, ...], data_samples=[...]) with whole '
                f'numbers of shape (L,) for each sentence; got {_kind(sentences)}.'
            )
        for position, row in enumerate(tokens):
            self._check(row, position)
        lengths = [len(row) for row in tokens]
        inputs = pad_sequence([row.long() for row in tokens], batch_first=True, padding_value=self.pad_id)
        mask = pad_sequence([torch.ones(length, dtype=torch.long) for length in lengths], batch_first=True)
        return self.cast_data({'data_samples': None, **data, 'inputs': inputs, 'attention_mask': mask})

    def _check(self, tokens: Tensor, position: int) -> None:
        if not len(tokens):
            raise InputError(f'sentence {position + 1} of a batch has no token; leave it out.')
        lowest, highest = int(tokens.min()), int(tokens.max())
        if lowest < 0 or (self.vocabulary is not None and highest >= self.vocabulary):
            raise InputError(
                f'sentence {position + 1} of a batch has the token {lowest if lowest < 0 else highest}, but the model '
                f'has the tokens 0..{(self.vocabulary or 0) - 1}; use the tokenizer that belongs to the model.'
            )


def _is_real(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool


def _kind(inputs: Any) -> str:
    first = inputs[0] if isinstance(inputs, (list, tuple, Tensor)) and len(inputs) else None
    shown = f' of {first.dtype} {tuple(first.shape)}' if isinstance(first, Tensor) else ''
    return f'{type(inputs).__name__}{shown}'
