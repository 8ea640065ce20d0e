"""DistilBERT against its forward pass written out, and as a classifier of mmpretrain's kind."""

import math

import pytest
import torch
from mmpretrain.structures import DataSample
from small_text import TOKENS, prepared, raw_batch, small_model, token_rows
from torch.nn import functional as F
from transformers import DistilBertForSequenceClassification

from samat_mm.errors import InputError
from samat_mm.tasks import Classification, task_of
from samat_mm.text import DistilBertClassifier


def plain_logits(weights, tokens, heads=2, layers=2):
    """The equations of DistilBERT and its head for one sentence, shape (L,), in evaluation mode."""

    def linear(name, x):
        return x @ weights[f'{name}.weight'].T + weights[f'{name}.bias']

    def normalised(name, x):
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-12).sqrt()
        return scaled * weights[f'{name}.weight'] + weights[f'{name}.bias']

    embeddings = 'distilbert.embeddings'
    x = weights[f'{embeddings}.word_embeddings.weight'][tokens]
    x = normalised(f'{embeddings}.LayerNorm', x + weights[f'{embeddings}.position_embeddings.weight'][: len(tokens)])
    for layer in range(layers):
        block = f'distilbert.transformer.layer.{layer}'
        parts = [linear(f'{block}.attention.{name}_lin', x).chunk(heads, -1) for name in 'qkv']
        mixed = [
            (query @ key.T / math.sqrt(query.shape[-1])).softmax(-1) @ value
            for query, key, value in zip(*parts, strict=True)
        ]
        x = normalised(f'{block}.sa_layer_norm', linear(f'{block}.attention.out_lin', torch.cat(mixed, -1)) + x)
        inner = linear(f'{block}.ffn.lin1', x)
        inner = inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2)))
        x = normalised(f'{block}.output_layer_norm', linear(f'{block}.ffn.lin2', inner) + x)
    return linear('classifier', linear('pre_classifier', x[0]).relu())


def test_the_logits_are_those_of_the_equations_and_of_transformers():
    model = small_model().double().eval()
    weights = model.network.state_dict()
    reference = DistilBertForSequenceClassification(model.network.config).double().eval()
    reference.load_state_dict(weights)
    for attention in ('eager', 'sdpa'):
        model.network.set_attn_implementation(attention)
        batch = prepared(model, 7, 12, 3)
        found = model(**batch, mode='tensor')
        expected = torch.stack([plain_logits(weights, row) for row in token_rows(7, 12, 3)])
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
        theirs = reference(input_ids=batch['inputs'], attention_mask=batch['attention_mask']).logits
        torch.testing.assert_close(found, theirs, rtol=0, atol=1e-12)
    assert float((expected[0] - expected[1]).abs().max()) > 0.1


def test_loss_and_predictions_are_those_of_mmpretrain_heads():
    model = small_model().eval()
    batch = prepared(model, 7, 12, 3)
    logits = model(**batch, mode='tensor')
    labels = torch.tensor([0, 1, 0])
    torch.testing.assert_close(model(**batch, mode='loss'), dict(loss=F.cross_entropy(logits, labels)))
    samples = model(**batch, mode='predict')
    assert samples[0] is batch['data_samples'][0]
    for sample, row in zip(samples, logits, strict=True):
        torch.testing.assert_close(sample.pred_score, row.softmax(0))
        assert sample.pred_label.tolist() == [int(row.argmax())]
    bare = model(batch['inputs'], attention_mask=batch['attention_mask'], mode='predict')
    assert [int(sample.pred_label) for sample in bare] == logits.argmax(1).tolist()
    with pytest.raises(ValueError, match=r"mode must be 'tensor', 'loss' or 'predict'; got 'losses'"):
        model(**batch, mode='losses')


@pytest.mark.parametrize('training', [True, False])
def test_padding_changes_nothing(training):
    model = small_model().train(training)
    together = model(**prepared(model, 5, 20, 11), mode='tensor')
    alone = torch.cat([model(row[None]) for row in token_rows(5, 20, 11)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)


def test_embeddings_stand_for_their_tokens_and_a_perturbation_is_added_to_them():
    model = small_model().double().eval()
    batch = prepared(model, 6, 9)
    tokens, mask = batch['inputs'], batch['attention_mask']
    expected = model(tokens)  # the mask follows from the tokens
    torch.testing.assert_close(model(model.embed(tokens), attention_mask=mask), expected, rtol=0, atol=1e-12)
    moved = torch.randn(*tokens.shape, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    perturbed = model(tokens, attention_mask=mask, perturbation=moved)
    by_hand = model(model.embed(tokens) + moved, attention_mask=mask)
    torch.testing.assert_close(perturbed, by_hand, rtol=0, atol=1e-12)
    assert float((perturbed - expected).detach().abs().max()) > 0.1
    in_padding = torch.zeros_like(moved)
    in_padding[0, 6:] = 100
    torch.testing.assert_close(model(tokens, attention_mask=mask, perturbation=in_padding), expected, rtol=0, atol=1e-9)


def test_its_task_is_classification_by_these_logits():
    model = small_model().eval()
    batch = prepared(model, 6, 9)
    task = task_of(model, batch['data_samples'])
    assert isinstance(task, Classification)
    torch.testing.assert_close(
        task.logits(model, batch['inputs'], batch['data_samples']), model(**batch, mode='tensor'), rtol=0, atol=1e-6
    )
    task.check(model, batch['inputs'], batch['data_samples'])
    judged = task.judge(model(**batch, mode='predict')[0])
    assert judged['classes'] == 2


def test_the_logits_have_a_second_derivative():
    """For measures of sharpness."""
    model = small_model().double()
    loss = model(**prepared(model, 4, 6), mode='loss')['loss']
    weight = model.network.classifier.weight, model.embed(torch.tensor([1])).grad_fn.next_functions[0][0].variable
    first = torch.autograd.grad(loss, weight, create_graph=True)
    second = torch.autograd.grad(sum(grad.square().sum() for grad in first), weight)
    assert all(float(grad.abs().max()) > 0 for grad in second)


def test_building_by_seed_and_training_leave_the_weights_as_they_were_drawn():
    model = small_model(initializer_range=0.02)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.init_weights()  # as MMEngine does before training
    again = small_model(initializer_range=0.02).state_dict()
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]) and torch.equal(value, again[key]), key


@pytest.mark.parametrize(
    ('given', 'sentence'),
    [
        (dict(architecture=dict(dim=10, n_heads=4)), r'no DistilBERT with architecture=.*must divide'),
        (dict(architecture=dict(dim=8), pretrained='folder'), r'give either pretrained or architecture'),
        (dict(pretrained=dict(name='bert')), r'pretrained must be a folder, dict\(hub=NAME\) or None; got'),
    ],
)
def test_a_model_that_cannot_be_is_refused(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        DistilBertClassifier(**given)


def test_a_sentence_that_is_too_long_and_a_foreign_token_are_refused():
    model = small_model()
    with pytest.raises(InputError, match=r'takes at most 24 tokens, but a sentence has 25; lower the max_length'):
        model(**prepared(model, 25), mode='loss')
    batch = raw_batch(4, 4)
    batch['inputs'][1][2] = TOKENS
    with pytest.raises(InputError, match=rf'sentence 2 of a batch has the token {TOKENS}, but .*0\.\.{TOKENS - 1}'):
        model.data_preprocessor(batch)


def test_a_sentence_without_a_label_cannot_be_trained_on():
    model = small_model()
    batch = prepared(model, 4, 4)
    batch['data_samples'][1] = DataSample(metainfo=dict(text='no label'))
    with pytest.raises(InputError, match=r"needs a label for every sentence; the sentence 'no label' has none"):
        model(**batch, mode='loss')
    with pytest.raises(InputError, match=r'needs a label for every sentence'):
        model(batch['inputs'], mode='loss')


def test_a_batch_is_padded_to_its_longest_sentence():
    model = small_model()
    batch = model.data_preprocessor(raw_batch(2, 5, 3))
    assert batch['inputs'].shape == (3, 5) and batch['attention_mask'].sum(1).tolist() == [2, 5, 3]
    for row, tokens in zip(batch['inputs'], token_rows(2, 5, 3), strict=True):
        assert row[: len(tokens)].tolist() == tokens.tolist() and not row[len(tokens) :].any()
    assert model.data_preprocessor(dict(inputs=token_rows(2, 3)))['data_samples'] is None


@pytest.mark.parametrize(
    ('inputs', 'got'),
    [
        (None, 'NoneType'),
        ([], 'list'),
        ([torch.zeros(3)], r'list of torch.float32 \(3,\)'),
        ([torch.zeros(3, 8, 8, dtype=torch.uint8)], r'list of torch.uint8 \(3, 8, 8\)'),
    ],
)
def test_a_batch_without_tokens_is_refused(inputs, got):
    with pytest.raises(TypeError, match=rf'expects batches dict\(inputs=\[tokens, .*; got {got}\.'):
        small_model().data_preprocessor(dict(inputs=inputs, data_samples=[DataSample()]))


def test_an_empty_row_of_tokens_is_refused():
    with pytest.raises(ValueError, match=r'sentence 2 of a batch has no token'):
        small_model().data_preprocessor(dict(inputs=[torch.tensor([1]), torch.zeros(0, dtype=torch.long)]))
