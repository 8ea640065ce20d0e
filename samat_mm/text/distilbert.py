"""DistilBERT as an MMEngine model."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from samat_mm.errors import InputError
from samat_mm.perturbations.checks import whole_number
from samat_mm.tasks.labels import name_of
from samat_mm.text.preprocessor import TextDataPreprocessor
from samat_mm.text.weights import network_from_hub, network_in, random_network


@MODELS.register_module()
class DistilBertClassifier(BaseModel):
    """DistilBERT with a classifier on its first token: ``DistilBertForSequenceClassification`` of transformers.

    Its data samples and predictions are those of mmpretrain's classifiers, so their metrics apply.

    Source: V. Sanh et al., DistilBERT, a Distilled Version of BERT: Smaller, Faster, Cheaper and Lighter, 2019.

    Args:
        num_classes: number of classes.
        pretrained: folder with ``config.json`` and ``model.safetensors``, or ``dict(hub=NAME)`` to download a model;
            None for random weights.
        architecture: arguments of ``DistilBertConfig`` for random weights: ``vocab_size``, ``dim``, ``n_layers``,
            ``n_heads``, ``hidden_dim``, ``max_position_embeddings``, ``dropout``, ``attention_dropout``,
            ``seq_classif_dropout``; the defaults are those of distilbert-base.
        attention: 'eager', which can be differentiated twice as measures of sharpness do, or 'sdpa'.
        data_preprocessor: a :class:`TextDataPreprocessor` that fits the model by default.

    Raises:
        FileNotFoundError: if files of the pretrained model are missing.
        ModuleNotFoundError: if transformers is not installed.
        ValueError: if the model is damaged or another one, or both ``pretrained`` and ``architecture`` are given.
    """

    def __init__(
        self,
        num_classes: int = 2,
        pretrained: str | dict | None = None,
        architecture: dict | None = None,
        attention: str = 'eager',
        data_preprocessor: dict | nn.Module | None = None,
    ) -> None:
        settings = dict(num_labels=whole_number(num_classes, 'num_classes'), attn_implementation=attention)
        if pretrained is not None and architecture is not None:
            raise InputError('a pretrained model has its own architecture; give either pretrained or architecture.')
        if isinstance(pretrained, dict):
            if pretrained.keys() != {'hub'}:
                raise InputError(f'pretrained must be a folder, dict(hub=NAME) or None; got {dict(pretrained)!r}.')
            network = network_from_hub(pretrained['hub'], **settings)
        elif pretrained is not None:
            network = network_in(pretrained, **settings)
        else:
            network = random_network(architecture or {}, **settings)
        config = network.config
        super().__init__(data_preprocessor or TextDataPreprocessor(config.pad_token_id, config.vocab_size))
        self.network, self.criterion = network, nn.CrossEntropyLoss()
        self.longest, self.pad_id = config.max_position_embeddings, config.pad_token_id

    def init_weights(self) -> None:
        """Do nothing: the weights were loaded or drawn when the model was built."""
        self._is_init = True

    def embed(self, tokens: Tensor) -> Tensor:
        """Return the word embeddings of tokens, shape (N, L, D); positions are added later."""
        return self.network.get_input_embeddings()(tokens)

    def forward(
        self,
        inputs: Tensor,
        data_samples: Sequence[DataSample] | None = None,
        mode: str = 'tensor',
        attention_mask: Tensor | None = None,
        perturbation: Tensor | None = None,
    ) -> Any:
        """Return logits, losses or predictions.

        Args:
            inputs: tokens (N, L), whole numbers; or word embeddings (N, L, D).
            data_samples: data samples; with labels in the mode 'loss'.
            mode: 'tensor' for logits (N, K), 'loss' for a dict with ``loss``, 'predict' for the data samples with
                ``pred_score`` (K,) and ``pred_label``.
            attention_mask: 1 for tokens and 0 for padding, shape (N, L). By default the token that pads does not
                count, and every embedding does.
            perturbation: added to the word embeddings, shape (N, L, D).

        Raises:
            ValueError: if a sentence is too long for the model or has no label to train on, or the mode is unknown.
        """
        logits = self._logits(inputs, attention_mask, perturbation)
        if mode == 'tensor':
            return logits
        if mode == 'loss':
            return dict(loss=self.criterion(logits, _labels(data_samples)))
        if mode == 'predict':
            return _predictions(logits, data_samples)
        raise InputError(f"mode must be 'tensor', 'loss' or 'predict'; got {mode!r}.")

    def _logits(self, inputs: Tensor, mask: Tensor | None, perturbation: Tensor | None) -> Tensor:
        if inputs.shape[1] > self.longest:
            raise InputError(
                f'the model takes at most {self.longest} tokens, but a sentence has {inputs.shape[1]}; lower the '
                'max_length of Tokenize.'
            )
        embeddings = inputs
        if not inputs.is_floating_point():
            mask = (inputs != self.pad_id).long() if mask is None else mask
            embeddings = self.embed(inputs)
        if perturbation is not None:
            embeddings = embeddings + perturbation
        return self.network(inputs_embeds=embeddings, attention_mask=mask).logits


def _labels(data_samples: Sequence[DataSample] | None) -> Tensor:
    for sample in data_samples or [DataSample()]:
        if 'gt_label' not in sample:
            raise InputError(f'a training loss needs a label for every sentence; {name_of(sample)} has none.')
    return torch.cat([sample.gt_label for sample in data_samples or ()])


def _predictions(logits: Tensor, data_samples: Sequence[DataSample] | None) -> list[DataSample]:
    scores = logits.softmax(1)
    labels = scores.argmax(1, keepdim=True).detach()
    samples = data_samples or [DataSample() for _ in scores]
    for sample, score, label in zip(samples, scores, labels, strict=True):
        sample.set_pred_score(score).set_pred_label(label)
    return list(samples)
