"""Weights from a folder in the form of the hub, and from the hub."""

import json
import shutil

import pytest
import torch
import transformers
from small_text import TOKENS, WITHOUT_DROPOUT, prepared

from samat_mm.text import DistilBertClassifier, pretrained_tokenizer

SIZES = dict(vocab_size=TOKENS, max_position_embeddings=24, dim=8, n_layers=1, n_heads=2, hidden_dim=16)


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
    """A fine-tuned model, as transformers saves it."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp('saved')
    network = transformers.DistilBertForSequenceClassification(transformers.DistilBertConfig(**SIZES))
    network.save_pretrained(folder)
    return folder, network


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved[0], tmp_path / 'model')


def test_a_fine_tuned_model_is_loaded_to_the_bit(saved):
    model = DistilBertClassifier(pretrained=str(saved[0])).eval()
    for name, value in saved[1].state_dict().items():
        assert torch.equal(model.network.state_dict()[name], value), name
    batch = prepared(model, 4, 9)
    theirs = saved[1].eval()(input_ids=batch['inputs'], attention_mask=batch['attention_mask']).logits
    torch.testing.assert_close(model(**batch), theirs, rtol=0, atol=1e-6)
    assert (model.longest, model.data_preprocessor.vocabulary) == (24, TOKENS)


def test_a_language_model_gets_a_new_head_from_the_seed(tmp_path, capfd):
    """As distilbert-base-uncased is published."""
    language = transformers.DistilBertForMaskedLM(transformers.DistilBertConfig(**SIZES))
    language.save_pretrained(tmp_path)
    capfd.readouterr()
    models = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        models.append(DistilBertClassifier(3, pretrained=str(tmp_path)).network.state_dict())
    printed = capfd.readouterr()
    assert printed.out + printed.err == ''
    for name, value in language.distilbert.state_dict().items():
        assert torch.equal(models[0][f'distilbert.{name}'], value), name
    head = 'classifier.weight'
    assert models[0][head].shape == (3, 8) and torch.equal(models[0][head], models[1][head])
    assert not torch.equal(models[0][head], models[2][head])


@pytest.mark.parametrize('name', ['config.json', 'model.safetensors'])
def test_a_missing_file_is_named(name, folder):
    (folder / name).unlink()
    (folder / 'pytorch_model.bin').write_bytes(b'never opened')
    with pytest.raises(FileNotFoundError, match=rf'{name} is missing; put the files of huggingface\.co/distilbert'):
        DistilBertClassifier(pretrained=str(folder))


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no pretrained DistilBERT is in \S*absent: config\.json and model'):
        DistilBertClassifier(pretrained=str(tmp_path / 'absent'))


def test_damaged_files_are_refused(folder):
    weights = (folder / 'model.safetensors').read_bytes()
    (folder / 'model.safetensors').write_bytes(weights[:200])
    with pytest.raises(ValueError, match=r'model cannot be loaded \(.*\); download its files again'):
        DistilBertClassifier(pretrained=str(folder))
    (folder / 'model.safetensors').write_bytes(weights)
    (folder / 'config.json').write_text('{"model_type": ')
    with pytest.raises(ValueError, match=r'model cannot be loaded \(.*\); download its files again'):
        DistilBertClassifier(pretrained=str(folder))


def changed_config(folder, **changes):
    path = folder / 'config.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_another_model_is_refused(folder):
    changed_config(folder, n_layers=2)
    with pytest.raises(ValueError, match=r'the weights of \S*model lack distilbert\.transformer\.layer\.1\.'):
        DistilBertClassifier(pretrained=str(folder))
    changed_config(folder, n_layers=1, dim=16)
    with pytest.raises(ValueError, match=r'model cannot be loaded'):
        DistilBertClassifier(pretrained=str(folder))
    changed_config(folder, model_type='bert')
    with pytest.raises(ValueError, match=r"holds a model of the type 'bert'; give a DistilBERT"):
        DistilBertClassifier(pretrained=str(folder))


def test_a_head_for_other_classes_is_refused(saved):
    with pytest.raises(ValueError, match=r'cannot be loaded'):
        DistilBertClassifier(num_classes=5, pretrained=str(saved[0]))


def test_the_hub_is_asked_only_when_a_config_says_so(saved, monkeypatch):
    asked = []
    load = transformers.DistilBertForSequenceClassification.from_pretrained

    def from_pretrained(source, **options):
        asked.append((source, options.get('local_files_only', False), options['use_safetensors']))
        return load(str(saved[0]), **options)

    config = transformers.AutoConfig.from_pretrained(str(saved[0]))
    monkeypatch.setattr(transformers.DistilBertForSequenceClassification, 'from_pretrained', from_pretrained)
    monkeypatch.setattr(transformers.AutoConfig, 'from_pretrained', lambda *_, **__: config)
    DistilBertClassifier(pretrained=str(saved[0]))
    DistilBertClassifier(pretrained=dict(hub='distilbert/distilbert-base-uncased'))
    assert asked == [(str(saved[0]), True, True), ('distilbert/distilbert-base-uncased', False, True)]


def test_without_a_network_the_hub_is_one_sentence(monkeypatch):
    def offline(*_, **__):
        raise OSError("We couldn't connect to the hub.\nCheck your connection.")

    for name in ('AutoConfig', 'AutoTokenizer'):
        monkeypatch.setattr(getattr(transformers, name), 'from_pretrained', offline)
    sentence = r"distilbert-x cannot be had from the hub \(We couldn't connect to the hub\); check the name"
    with pytest.raises(OSError, match=sentence):
        DistilBertClassifier(pretrained=dict(hub='distilbert-x'))
    with pytest.raises(OSError, match=sentence):
        pretrained_tokenizer(hub='distilbert-x')


def test_dropout_is_that_of_the_folder(folder):
    for rates, same in (({}, False), (WITHOUT_DROPOUT, True)):
        changed_config(folder, **rates)
        model = DistilBertClassifier(pretrained=str(folder)).train()
        batch = prepared(model, 4, 9)
        assert torch.equal(model(**batch), model(**batch)) == same


@pytest.mark.parametrize('given', [5, ['a'], True])
def test_a_folder_is_a_path(given):
    with pytest.raises(ValueError, match=r'pretrained must be a folder, dict\(hub=NAME\) or None; got'):
        DistilBertClassifier(pretrained=given)
    with pytest.raises(ValueError, match=r'hub must be the name of a model'):
        DistilBertClassifier(pretrained=dict(hub=given))


@pytest.mark.parametrize(
    ('architecture', 'sentence'),
    [
        ('abc', r"architecture must be a dict .*; got 'abc'"),
        (dict(widht=3), r'has no argument widht; correct'),
        (dict(dim='x'), r"there is no DistilBERT with architecture=\{'dim': 'x'\} \(.*\); correct it"),
        (dict(vocab_size=-1), r'there is no DistilBERT with .*negative dimension'),
    ],
)
def test_an_architecture_that_does_not_exist_is_refused(architecture, sentence):
    with pytest.raises(ValueError, match=sentence):
        DistilBertClassifier(architecture=architecture)


@pytest.mark.parametrize('classes', ['two', 0, None])
def test_the_number_of_classes_is_checked(classes):
    with pytest.raises(ValueError, match=r'num_classes must be a whole number of at least 1'):
        DistilBertClassifier(num_classes=classes)
