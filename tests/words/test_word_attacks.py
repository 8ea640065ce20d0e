"""What every attack on words has to hold, and what it refuses."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from helpers import ROOT
from word_tables import Linear, Table, problem

import samat_mm.words  # noqa: F401  (registers)
from samat_mm.perturbations.inputs import Attack
from samat_mm.presets import build_attacks, image_attacks, preset
from samat_mm.registry import ATTACKS
from samat_mm.words.attacks import IGA, PSO, WORD_ATTACK_TYPES, WordAttack
from samat_mm.words.sentence import Sentence
from samat_mm.words.substitutions import MyThes, WordNet

NAMES = sorted(name for name, cls in ATTACKS.module_dict.items() if issubclass(cls, WordAttack))
TABLE = Table({'good': {'fine': 0.1}})
QUICK = dict(population=6, iterations=4)


def test_the_registered_attacks_on_words_are_those_of_the_package():
    assert {ATTACKS.get(name) for name in NAMES} == set(WORD_ATTACK_TYPES)


@pytest.fixture(params=NAMES)
def attack(request):
    def make(table=TABLE, **parameters):
        return ATTACKS.build({'type': request.param, 'substitutions': table, **QUICK, **parameters})

    return make


def hard(number=7):
    """A problem on which an attack needs random numbers: no error is near."""
    text, table, victim = problem(number, words=12, bias=4.0)
    return Sentence.of(text), table, victim


def test_the_result_depends_on_seed_and_index_alone(attack):
    sentence, table, victim = hard()
    others = Sentence.of('bka cmi dlo')

    def asked(seed, index):
        own = Linear(victim.weights, victim.bias)
        result = attack(table, seed=seed, population=8)(own, sentence, 1, index)
        return own.asked, result

    first = asked(3, 5)
    attack(table)(victim, others, 1, 5)  # another sentence in between
    np.random.seed(1)
    np.random.rand(7)
    state = np.random.get_state()[1].copy()
    assert asked(3, 5) == first
    assert (np.random.get_state()[1] == state).all()  # the global numbers are left alone
    assert asked(4, 5)[0] != first[0]
    assert asked(3, 6)[0] != first[0]


def test_the_batches_of_the_model_play_no_role(attack):
    sentence, table, victim = hard()
    whole = attack(table)(victim, sentence, 1, 2)
    one_by_one = attack(table)(lambda texts: np.concatenate([victim([text]) for text in texts]), sentence, 1, 2)
    assert one_by_one == whole


def test_the_model_is_asked_about_many_texts_at_once(attack):
    sentence, table, victim = hard()
    result = attack(table, population=12)(victim, sentence, 1)
    assert victim.calls < result.queries / 2


def test_a_sentence_that_is_wrong_already_is_left_alone(attack):
    result = attack()(Linear({}, bias=-1.0), Sentence.of('a good film'), 1)
    assert (result.sentence.text, result.success, result.queries, result.changed) == ('a good film', False, 1, ())
    assert result.probability == pytest.approx(1 / (1 + np.e))


@pytest.mark.parametrize('text', ['', ' ... 12 !', 'xyz', 'the of and', 'The OF'])
def test_where_nothing_can_be_replaced_one_query_is_made(attack, text):
    table = Table({'the': {'thee': 0.1}, 'of': {'off': 0.1}, 'and': {'und': 0.1}})
    result = attack(table)(Linear({}, bias=1.0), Sentence.of(text), 1)
    assert (result.sentence.text, result.success, result.queries, result.share_changed) == (text, False, 1, 0)


def test_substitutions_that_are_no_single_words_are_passed_over(attack):
    table = Table({'good': {'very good': 0.1, '': 0.1, '2nd': 0.1, 'a,b': 0.1, 'good': 0.0}})
    assert attack(table)(Linear({}, bias=1.0), Sentence.of('good'), 1).queries == 1


@pytest.mark.parametrize(
    ('text', 'found'), [('Good !', 'Fine !'), ('GOOD !', 'FINE !'), ('good-good Good', 'good-good Fine')]
)
def test_a_substitution_takes_the_capitals_of_the_word(attack, text, found):
    class LowerCase(Linear):
        def logit(self, text):
            return super().logit(text.lower())

    victim = LowerCase({'fine': -9.0}, bias=1.0)
    assert attack()(victim, Sentence.of(text), 1).sentence.text == found


def test_several_classes(attack):
    def predict(texts):
        rows = [[0.2, 0.5, 0.3] if 'good' in text.split() else [0.1, 0.3, 0.6] for text in texts]
        return np.array(rows, np.float32)

    result = attack()(predict, Sentence.of('good'), 1)
    assert (result.success, result.sentence.text) == (True, 'fine')
    assert result.probability == pytest.approx(0.3, abs=1e-6)
    assert not attack()(predict, Sentence.of('good'), 0).success  # was wrong before


@pytest.mark.parametrize(
    ('output', 'message'),
    [
        (lambda n: np.zeros(n), r'predict must return class probabilities of 1 texts.*got the shape \(1,\)'),
        (lambda n: np.zeros((n + 1, 2)), r'got the shape \(2, 2\)'),
        (lambda n: np.zeros((n, 1)), 'with a class 1'),
        (lambda n: np.tile([-1.0, 2.0], (n, 1)), r'from 0 to 1.*got numbers from -1 to 2.*take the softmax of logits'),
        (lambda n: np.full((n, 2), 0.4), r'add up to 1 for each text.*a text whose sum is 0\.8'),
        (lambda n: np.full((n, 2), np.nan), 'not a finite number; check its weights'),
    ],
)
def test_what_is_no_probability_is_refused(attack, output, message):
    with pytest.raises((ValueError, FloatingPointError), match=message):
        attack()(lambda texts: output(len(texts)), Sentence.of('good'), 1)


@pytest.mark.parametrize('index', [-1, 1.0, True, None])
def test_an_index_that_is_no_number_of_a_sentence_is_refused(attack, index):
    with pytest.raises(ValueError, match='index must be a whole number of at least 0; got'):
        attack()(Linear({}, bias=1.0), Sentence.of('good'), 1, index)


@pytest.mark.parametrize(
    ('parameters', 'message'),
    [
        (dict(population=0), 'population must be a whole number of at least 1; got 0'),
        (dict(iterations=1.5), 'iterations must be a whole number'),
        (dict(seed=-1), 'seed must be a whole number from 0 to 4294967295; got -1'),
        (dict(seed=True), 'seed must be'),
        (dict(seed=2**32), 'seed must be'),
        (dict(table='WordNet'), "source of substitutions must be a config such as dict.*got the name 'WordNet'"),
        (dict(table=dict(type='Thesaurus')), "'Thesaurus' is unknown; the known ones are .*HowNet.*WordNet"),
        (dict(table=PSO(TABLE)), 'substitutions must be a source such as WordNet'),
        (dict(tagger=3), 'tagger must be the name of one, a function or None; got 3'),
        (dict(tagger=lambda sentence: []), 'tagger must be a function of a module, which a report can name'),
        (dict(surplus=1), 'does not accept these parameters'),
    ],
)
def test_parameters_out_of_their_range_are_refused(attack, parameters, message):
    with pytest.raises(ValueError, match=message):
        attack(**parameters)


@pytest.mark.parametrize(
    ('parameters', 'message'),
    [
        (dict(replacements_per_word=0), 'replacements_per_word must be a whole number'),
        (dict(share_of_words=0), 'share_of_words is a share, above 0 and at most 1; got 0'),
        (dict(share_of_words=1.1), 'share_of_words is a share'),
        (dict(max_distance=-0.1), 'max_distance must be a finite number of at least 0'),
        (dict(candidates=0), 'candidates must be a whole number'),
        (dict(crossover_retries=-1), 'crossover_retries must be a whole number'),
        (dict(crossover_retries=False), 'crossover_retries must be a whole number of at least 0; got False'),
        (dict(temperature=0), 'temperature must be a finite number and not 0.*got 0'),
        (dict(temperature=float('nan')), 'temperature must be'),
        (dict(temperature=float('inf')), 'temperature must be'),
        (dict(temperature='x'), "temperature must be a finite number.*got 'x'"),
        (dict(temperature=None), 'temperature must be'),
        (dict(temperature=True), 'temperature must be'),
    ],
)
def test_parameters_of_iga_out_of_their_range_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        IGA(TABLE, **parameters)


def test_an_attack_describes_itself_and_is_a_value(attack):
    made = ATTACKS.build(
        {'type': type(attack()).__name__, 'substitutions': dict(type='WordNet', folder='x'), 'seed': 3}
    )
    described = made.describe()
    assert described['substitutions'] == {'type': 'WordNet', 'folder': 'x'}
    assert described['seed'] == 3
    assert ATTACKS.build(described) == made
    assert made.replace(seed=4).seed == 4
    assert made.replace(seed=3) == made == pickle.loads(pickle.dumps(made))
    assert {'substitutions', 'population', 'iterations', 'tagger', 'seed'} <= made.parameters
    assert repr(made).startswith(
        f"{type(made).__name__}(substitutions={{'type': 'WordNet', 'folder': 'x'}}, population=60"
    )
    assert attack(tagger=len).describe()['tagger'] == 'builtins.len'
    assert ATTACKS.build(attack(tagger='pattern').describe() | {'substitutions': TABLE}).tagger == 'pattern'


def test_prepare_finds_a_missing_file_before_any_work(attack, tmp_path):
    made = attack(WordNet(str(tmp_path)))
    with pytest.raises(FileNotFoundError, match='apt install wordnet-base'):
        made.prepare()
    attack().prepare()


@pytest.mark.parametrize('name', ['pso', 'iga'])
def test_the_presets_have_the_published_settings(name, monkeypatch):
    monkeypatch.setattr('samat_mm.words.substitutions.wordnet.FOLDERS', ())  # building reads no file
    made = build_attacks([name], seed=5)[name]
    assert isinstance(made, WordAttack) and not isinstance(made, Attack)
    assert made == {'pso': PSO, 'iga': IGA}[name](WordNet(), seed=5)
    described = made.describe()
    published = {'population': 60, 'iterations': 20}
    if name == 'iga':
        published |= {'replacements_per_word': 5, 'share_of_words': 0.2, 'max_distance': 0.5, 'candidates': 50}
    assert {key: described[key] for key in published} == published
    other = dict(preset(name)['attack'], substitutions=dict(type='MyThes'))
    assert build_attacks([other])[name].substitutions == MyThes()


def test_attacks_on_images_and_on_words_are_told_apart():
    with pytest.raises(TypeError, match=r'attack pso replaces words \(PSO\), and here gradients move inputs'):
        image_attacks(['pgd-linf', 'pso'])
    with pytest.raises(TypeError, match='attack mine replaces words'):
        image_attacks({'mine': PSO(TABLE)})
    with pytest.raises(ValueError, match=r'none of the attacks \(pso\) takes eps'):
        build_attacks(['pso'], eps='4/255')


@pytest.mark.parametrize('hook', ['AdversarialTrainingHook', 'AttackEvaluationHook'])
def test_hooks_for_images_refuse_an_attack_on_words(hook):
    from mmengine.registry import HOOKS

    config = dict(type='PSO', substitutions=dict(type='WordNet'))
    parameters = {'attack': config} if hook == 'AdversarialTrainingHook' else {'attacks': [config]}
    with pytest.raises(TypeError, match=r'replaces words \(PSO\), and here gradients move inputs'):
        HOOKS.build(dict(type=hook, **parameters))


def test_importing_the_attacks_imports_nothing_of_the_text_extra():
    program = (
        'import sys, samat_mm.words, samat_mm.presets\n'
        "samat_mm.presets.build_attacks(['pso', 'iga'])\n"
        "print([name for name in ('transformers', 'tokenizers', 'nltk', 'textblob', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip().splitlines()[-1] == '[]'
