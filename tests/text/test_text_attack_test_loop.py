"""Tests of sentences under attacks on words: metrics by hand, any batch size, stopped anywhere, and refusals."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from helpers import ROOT, ClassificationImages, classifier, runner
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.model import BaseModel
from mmpretrain.structures import DataSample

import samat_mm.text  # noqa: F401
from samat_mm.api.test_runner import attacks_of, build_test_runner
from samat_mm.errors import InputError, UnsupportedError
from samat_mm.evaluation import SanityChecks
from samat_mm.text.attack_test_loop import TextAttackTestLoop
from samat_mm.text.classifier import SentenceClassifier
from samat_mm.words.attacks import IGA, PSO
from samat_mm.words.sentence import Sentence
from samat_mm.words.substitutions import Substitutions

SCORES = {
    'splendid': 3.0,
    'fine': 1.0,
    'okay': -1.0,
    'dull': -2.0,
    'dim': 1.5,
    'film': 0.0,
    'movie': 0.0,
    'boring': -3.0,
}
TABLE = {'fine': ('okay',), 'splendid': ('fine',), 'dull': ('dim', 'boring'), 'film': ('movie',)}
TEXTS = (  # and their labels; the model gets the fifth one wrong
    ('a fine film .', 1),
    ('splendid film , splendid !', 1),
    ('dull film .', 0),
    ('boring , boring , dull film .', 0),
    ('a dull film .', 1),
    ('fine fine film', 1),
    ('12 %', 1),
)


@dataclass(frozen=True, repr=False)
class FewWords(Substitutions):
    """A handful of substitutions."""

    version: int = 1

    def __call__(self, word, part_of_speech=None):
        return [(new, 0.0) for new in TABLE.get(word, ())]

    @property
    def digest(self):
        return f'{self.version:x}'


class BagOfWords(BaseModel):
    """Adds up the scores of the words; the ids of the words are their places in ``SCORES``."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([*SCORES.values(), 0.1]))
        self.sentences = 0

    def forward(self, inputs, data_samples=None, mode='tensor'):
        logit = torch.stack([self.weight[sentence].sum() for sentence in inputs])
        logits = torch.stack([torch.zeros_like(logit), logit], dim=1)
        if mode != 'predict':
            return logits
        self.sentences += len(inputs)
        for sample, row in zip(data_samples, logits.softmax(1), strict=True):
            sample.set_pred_score(row).set_pred_label(row.argmax(0, keepdim=True))
        return data_samples


def ids(results):
    known = list(SCORES)
    words = [known.index(word) if word in known else len(known) for word in results['text'].split()]
    sample = DataSample(metainfo={'text': results['text']}).set_gt_label(results['gt_label'])
    return {'inputs': torch.tensor(words), 'data_samples': sample}


class Reviews(BaseDataset):
    METAINFO = dict(classes=('negative', 'positive'))  # noqa: RUF012

    def load_data_list(self):
        return [dict(text=text, gt_label=label) for text, label in TEXTS]


def evaluation(folder, attacks=None, *, model=None, data=None, batch_size=3, hooks=(), **options):
    attacks = (
        {'pso': PSO(substitutions=FewWords()), 'iga': IGA(substitutions=FewWords())} if attacks is None else attacks
    )
    return runner(
        model or BagOfWords(),
        folder,
        evaluate=data or Reviews(pipeline=[ids]),
        eval_batch_size=batch_size,
        hooks=hooks,
        test_cfg=dict(type='TextAttackTestLoop', attacks=attacks, **options),
    )


def by_hand(attack):
    """Attack the sentences one by one, without the loop."""
    model, found = BagOfWords(), []
    for number, (text, label) in enumerate(TEXTS):

        def predict(texts):
            batch = [ids(dict(text=entry, gt_label=0))['inputs'] for entry in texts]
            return model(batch).softmax(1).detach().double().numpy()

        found.append((predict([text]).argmax() == label, attack(predict, Sentence.of(text), label, number)))
    return found


@pytest.mark.parametrize('name', ['pso', 'iga'])
def test_the_metrics_are_those_of_the_attack_on_each_sentence(tmp_path, name):
    attack = {'pso': PSO, 'iga': IGA}[name](substitutions=FewWords())
    run = evaluation(tmp_path, {name: attack})
    metrics = run.test()
    found = by_hand(attack)
    right = [result for correct, result in found if correct]
    fooled = [result for result in right if result.success]
    assert 0 < len(fooled) < len(right) < len(TEXTS)
    assert metrics['accuracy/top1'] == pytest.approx(100 * len(right) / len(TEXTS))
    assert metrics[f'{name}/accuracy/top1'] == pytest.approx(100 * (len(right) - len(fooled)) / len(TEXTS))
    assert metrics[f'{name}/success_rate'] == pytest.approx(100 * len(fooled) / len(right))
    assert metrics[f'{name}/queries'] == pytest.approx(np.mean([result.queries for result in right]))
    shares = [100 * len(result.changed) / len(result.sentence.words) for result in fooled]
    assert metrics[f'{name}/changed_words'] == pytest.approx(np.mean(shares))
    written = run.test_loop.result.sections['sentences']
    assert [entry['text'] for entry in written] == [text for text, _ in TEXTS]
    assert [entry['attacked'][name]['text'] for entry in written] == [result.sentence.text for _, result in found]
    assert [entry['wrong'] for entry in written] == [not correct for correct, _ in found]


def test_the_batch_size_does_not_matter(tmp_path):
    first = evaluation(tmp_path / 'one', batch_size=1)
    second = evaluation(tmp_path / 'all', batch_size=7)
    assert first.test() == second.test()
    assert first.test_loop.result.sections == second.test_loop.result.sections


def test_the_report_names_the_packages_of_text_models(tmp_path):
    import tokenizers

    assert evaluation(tmp_path, {}).test_loop.stated()['packages']['tokenizers'] == tokenizers.__version__


def test_some_of_the_sentences(tmp_path):
    run = evaluation(tmp_path, max_samples=3)
    run.test()
    assert [entry['number'] for entry in run.test_loop.result.sections['sentences']] == run.test_loop.numbers
    assert len(run.test_loop.numbers) == 3


class Kill(Exception):
    pass


def test_a_killed_test_continues_with_the_other_sentences(tmp_path, monkeypatch):
    whole = evaluation(tmp_path / 'whole').test()
    predictions, calls = SentenceClassifier.predictions, []

    def dies(self, infos):
        calls.append(len(infos))
        if len(calls) == 30:
            raise Kill
        return predictions(self, infos)

    monkeypatch.setattr(SentenceClassifier, 'predictions', dies)
    with pytest.raises(Kill):
        evaluation(tmp_path / 'killed', batch_size=7).test()
    monkeypatch.undo()
    model = BagOfWords()
    run = evaluation(tmp_path / 'killed', model=model, batch_size=7)
    assert run.test() == whole
    assert run.test_loop.result.resumed
    fresh = BagOfWords()
    evaluation(tmp_path / 'fresh', model=fresh, batch_size=1).test()
    assert model.sentences < fresh.sentences


def test_another_content_of_the_substitutions_begins_anew(tmp_path):
    evaluation(tmp_path, {'pso': PSO(substitutions=FewWords())}).test()
    with pytest.raises(InputError, match=r'digest.* was .*1.* is .*2'):
        evaluation(tmp_path, {'pso': PSO(substitutions=FewWords(version=2))}, resume=True).test()


def test_a_missing_file_is_found_before_anything_is_done(tmp_path):
    model = BagOfWords()
    with pytest.raises(FileNotFoundError, match='nowhere'):
        evaluation(
            tmp_path, [dict(type='PSO', substitutions=dict(type='WordNet', folder='nowhere'))], model=model
        ).test()
    assert model.sentences == 0 and not (tmp_path / 'attack_results').exists()


def test_attacks_on_images_are_refused(tmp_path):
    with pytest.raises(InputError, match=r'pgd-linf does not replace words.*pso or iga'):
        evaluation(tmp_path, ['pgd-linf']).test()


def test_images_are_refused(tmp_path):
    with pytest.raises(UnsupportedError, match=r'need an MMEngine BaseDataset whose .* has a text; Class'):
        evaluation(tmp_path, {}, model=classifier(), data=ClassificationImages(2)).test()


def test_options_of_attacks_on_images_are_refused():
    loop = dict(type='TextAttackTestLoop', attacks=[])
    config = dict(
        test_dataloader=dict(dataset=dict(type='Reviews')), test_evaluator=dict(type='Accuracy'), test_cfg=loop
    )

    with pytest.raises(InputError, match=r'TextAttackTestLoop, by which .* takes no checks \(--sanity\), prot'):
        build_test_runner(Config(config), checks=1, protocol='strict')


def test_no_sentence_is_right(tmp_path):
    """Then there is nothing to attack, and no rate."""
    data = Reviews(pipeline=[ids])
    run = evaluation(tmp_path, {'pso': PSO(substitutions=FewWords())}, data=data, numbers=[4])
    metrics = run.test()
    assert metrics['accuracy/top1'] == 0 and np.isnan(metrics['pso/success_rate'])
    assert isinstance(run.test_loop, TextAttackTestLoop) and run.test_loop.unit == 'sentence'


def test_a_text_config_names_no_attack_by_itself():
    for file in sorted((ROOT / 'configs').glob('distilbert*.py')):
        assert attacks_of(Config.fromfile(file)) == []


def test_a_tool_for_images_says_so_to_words():
    with pytest.raises(InputError, match='leave --sanity out for words'):
        SanityChecks.of({'pso': PSO(substitutions=FewWords())})
