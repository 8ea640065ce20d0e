"""From a sentence to what the model gets: its tokens, and a data sample."""

from typing import Any

import torch
from mmcv.transforms import BaseTransform
from mmengine.registry import TASK_UTILS, TRANSFORMS
from mmpretrain.structures import DataSample

from samat_mm.errors import InputError, UnsupportedError
from samat_mm.perturbations.checks import whole_number
from samat_mm.text.tokenizers import is_tokenizer

LEAST = 3  # tokens: the two at the ends, and one of the sentence


@TRANSFORMS.register_module()
class Tokenize(BaseTransform):
    """Adds the numbers of the tokens of ``text``, those at the ends included, as ``tokens``.

    Args:
        tokenizer: config of a tokenizer, such as ``dict(type='PretrainedTokenizer', folder=...)``, or one of the
            package tokenizers.
        max_length: the largest number of tokens; the end of a longer sentence is left out.

    Raises:
        TypeError: if the tokenizer is none of that package.
        ValueError: if ``max_length`` is no whole number, or leaves no room for a sentence.
    """

    def __init__(self, tokenizer: dict | Any, max_length: int = 128) -> None:
        if whole_number(max_length, 'max_length') < LEAST:
            raise InputError(f'max_length must be at least {LEAST}; got {max_length}.')
        self.tokenizer = TASK_UTILS.build(tokenizer) if isinstance(tokenizer, dict) else tokenizer
        if not is_tokenizer(self.tokenizer):
            raise UnsupportedError(
                'Tokenize needs a tokenizer of the package tokenizers, or a config of one, such as '
                f"dict(type='PretrainedTokenizer', folder=...); got {tokenizer!r}."
            )
        self.max_length = max_length

    def transform(self, results: dict) -> dict:
        """Add ``tokens``, a list of numbers.

        Raises:
            TypeError: if ``text`` is missing or not a string.
            ValueError: if the sentence is empty.
        """
        text = results.get('text')
        if not isinstance(text, str):
            raise UnsupportedError(f"Tokenize expects a sentence, dict(text='...'); got text={text!r}.")
        tokens = self.tokenizer.encode(text).ids
        if len(tokens) < LEAST:
            raise InputError(f'a sentence has no token: {text!r}; leave it out.')
        if len(tokens) > self.max_length:
            tokens = [*tokens[: self.max_length - 1], tokens[-1]]
        return {**results, 'tokens': tokens}


@TRANSFORMS.register_module()
class PackText(BaseTransform):
    """Packs the tokens as ``inputs``, shape (L,), and the label, if there is one, into a data sample of mmpretrain's.

    Args:
        meta_keys: what else the data sample holds, as its metainfo.
    """

    def __init__(self, meta_keys: tuple[str, ...] = ('text', 'sample_idx')) -> None:
        self.meta_keys = meta_keys

    def transform(self, results: dict) -> dict:
        """Return ``inputs`` and ``data_samples``.

        Raises:
            TypeError: if there are no tokens.
        """
        if 'tokens' not in results:
            raise UnsupportedError(f'PackText needs tokens; put Tokenize before it. It got {", ".join(results)}.')
        sample = DataSample(metainfo={key: results[key] for key in self.meta_keys if key in results})
        if 'gt_label' in results:
            sample.set_gt_label(results['gt_label'])
        return dict(inputs=torch.tensor(results['tokens']), data_samples=sample)
