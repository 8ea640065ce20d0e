"""A classifier of sentences as a function of their text."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.runner.amp import autocast
from torch import nn
from torch.utils.data import DataLoader

from samat_mm.errors import UnsupportedError

LARGEST_BATCH = 64  # sentences in a forward pass; a population of an attack is usually one


class SentenceClassifier:
    """Reads text by the pipeline of the test set, and classifies it by the model's own ``predict``.

    Args:
        model: the bare model.
        dataloader: the loader of the test set, an MMEngine ``BaseDataset`` whose ``get_data_info`` has a ``text``.
        fp16: predict as MMEngine's loops do with ``fp16=True``.
    """

    def __init__(self, model: nn.Module, dataloader: DataLoader, fp16: bool = False) -> None:
        self.model: Any = model
        self.dataset: Any = dataloader.dataset
        self.collate, self.fp16 = dataloader.collate_fn, fp16

    def info(self, number: int) -> dict[str, Any]:
        """Return what the data set knows about a sentence, its ``text`` among it.

        Raises:
            TypeError: if the data set has no texts.
        """
        read = getattr(self.dataset, 'get_data_info', None)
        info = None if read is None or not hasattr(self.dataset, 'pipeline') else read(number)
        if not isinstance(info, Mapping) or not isinstance(info.get('text'), str):
            raise UnsupportedError(
                'attacks on words need an MMEngine BaseDataset whose get_data_info has a text; '
                f'{type(self.dataset).__name__} is none. An attack on pixels needs the AttackTestLoop.'
            )
        return dict(info)

    def predictions(self, infos: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Return the data samples of these sentences, with the model's predictions."""
        found: list[Any] = []
        for start in range(0, len(infos), LARGEST_BATCH):
            part = infos[start : start + LARGEST_BATCH]
            batch = self.collate([self.dataset.pipeline(copy.deepcopy(dict(info))) for info in part])
            with torch.no_grad(), autocast(enabled=self.fp16):
                found += self.model.test_step(batch)
        return found

    def probabilities(self, infos: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Return the probabilities of the classes, shape (N, K).

        Raises:
            TypeError: if the model predicts none.
        """
        predictions = self.predictions(infos)
        if not all('pred_score' in prediction for prediction in predictions):
            raise UnsupportedError(
                f'attacks on words need the probabilities of the classes (pred_score); {type(self.model).__name__} '
                'predicts none.'
            )
        return torch.stack([prediction.pred_score for prediction in predictions]).double().cpu().numpy()
