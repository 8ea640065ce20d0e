"""The content of a text data set in one number, by which an evaluation knows its sentences again."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from samat_mm.errors import UnsupportedError
from samat_mm.evaluation.images import first_item, is_openmmlab_item
from samat_mm.text.transforms import Tokenize


def digest_of(dataset: Any, numbers: Sequence[int]) -> str:
    """Return a number that changes with the sentences, their labels and tokens, and the vocabulary, in hexadecimal.

    The vocabulary counts as a whole, because attacks put words into sentences that no sentence has yet. It is that of
    every :class:`Tokenize` in the pipeline; of other tokenizers only the tokens of the sentences count. It takes one
    pass over the sentences, without the model.

    Args:
        dataset: an MMEngine ``BaseDataset`` of sentences.
        numbers: the sentences that count, in their order.

    Raises:
        OSError: if the pipeline refuses a sentence; the message names it.
        TypeError: if the pipeline makes no tokens and data sample of a sentence.
    """
    found = hashlib.sha256()
    for transform in getattr(getattr(dataset, 'pipeline', None), 'transforms', ()):
        if isinstance(transform, Tokenize):
            found.update(transform.tokenizer.to_str().encode())
    for number in numbers:
        item = first_item(dataset, [number])
        if not is_openmmlab_item(item):
            raise UnsupportedError(
                'a test of sentences needs a pipeline that ends in their tokens and a data sample, as PackText makes '
                f'them; got {type(item).__name__}.'
            )
        label = getattr(item['data_samples'], 'gt_label', None)
        content = [
            dataset.get_data_info(number).get('text'),
            item['inputs'].tolist(),
            None if label is None else label.tolist(),
        ]
        found.update(f'\n{json.dumps(content)}'.encode())
    return found.hexdigest()[:16]
