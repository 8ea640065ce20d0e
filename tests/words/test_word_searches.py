"""PSO and IGA, query by query against plain loops, and on victims whose best attack is known."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_iga import search as plain_iga
from plain_pso import search as plain_pso
from word_tables import DISTANCES, FILLERS, GROUPS, TEXTS, WEIGHTS, WORDS, Linear, Table, problem, table_of

from samat_mm.words.attacks import IGA, PSO
from samat_mm.words.sentence import Sentence
from samat_mm.words.stop_words import STOP_WORDS


class Asker:
    """The victim as the plain searches see it: words in, and every text asked once."""

    def __init__(self, victim, sentence, label):
        self.victim, self.sentence, self.label, self.known = victim, sentence, label, {}

    def __call__(self, words):
        text = self.sentence.replaced(dict(enumerate(words))).text
        if text not in self.known:
            row = self.victim([text])[0]
            self.known[text] = (1 - row[self.label], bool(row.argmax() != self.label))
        return self.known[text]


def both(attack, plain, text, table, victim, number, **settings):
    """Return the queries and results of an attack and of the plain search."""
    sentence = Sentence.of(text)
    label = int(victim([text])[0].argmax())
    limit, most = getattr(attack, 'max_distance', None), getattr(attack, 'candidates', None)

    def options(word):
        found = [] if word in STOP_WORDS else table(word)[:most]
        return [new for new, distance in found if limit is None or distance <= limit]

    ours = Linear(victim.weights, victim.bias)
    result = attack(ours, sentence, label, number)
    theirs = Asker(Linear(victim.weights, victim.bias), sentence, label)
    theirs(list(sentence.words))
    words, success = list(sentence.words), False
    if len(ours.asked) > 1 or any(options(word) for word in words):
        seed = [attack.seed, number]
        words, success = plain(theirs, words, options, attack.population, attack.iterations, seed, **settings)
    return ours, result, theirs, sentence.replaced(dict(enumerate(words))), success


@pytest.mark.parametrize('seed', range(25))
def test_pso_asks_what_plain_loops_ask(seed):
    text, table, victim = problem(seed, words=6 + seed % 9, bias=2.5 * (seed % 3 - 1))
    attack = PSO(table, population=8, iterations=5, seed=seed)
    ours, result, theirs, sentence, success = both(attack, plain_pso, text, table, victim, seed)
    assert ours.asked == list(theirs.known)
    assert (result.sentence, result.success, result.queries) == (sentence, success, len(theirs.known))


@pytest.mark.parametrize('retries', [None, 0, 3])
@pytest.mark.parametrize('seed', range(20))
def test_iga_asks_what_plain_loops_ask(seed, retries):
    text, table, victim = problem(seed, words=6 + seed % 9, bias=2.5 * (seed % 3 - 1))
    chosen = dict(share_of_words=(0.2, 0.4, 1.0)[seed % 3], temperature=(-0.3, 0.3)[seed % 2])
    attack = IGA(
        table, 8, 5, replacements_per_word=2, candidates=2, crossover_retries=retries, seed=seed, **chosen
    )  # fmt: skip
    settings = dict(uses=2, share=chosen['share_of_words'], temperature=chosen['temperature'], retries=retries)
    ours, result, theirs, sentence, success = both(attack, plain_iga, text, table, victim, seed, **settings)
    assert ours.asked == list(theirs.known)
    assert (result.success, result.queries) == (success, len(theirs.known))
    assert result.sentence == sentence


def least_probable(victim, sentence, table, most):
    """Return the largest score of any sentence with at most so many words replaced, by trying all."""
    best = -math.inf
    for places in itertools.combinations(range(len(sentence.words)), most):
        choices = [[sentence.words[place], *(new for new, _ in table(sentence.words[place]))] for place in places]
        for words in itertools.product(*choices):
            text = sentence.replaced(dict(zip(places, words, strict=True))).text
            best = max(best, 1 - victim([text])[0, 1])
    return best


@pytest.mark.parametrize('seed', range(6))
def test_where_nothing_errs_the_best_sentence_is_nearly_the_best_there_is(seed):
    """A large bias lets no sentence succeed; trying all combinations of the few words finds the best there is."""
    text, table, victim = problem(seed, words=5, bias=8.0)
    sentence = Sentence.of(text)

    def lowered(probability):
        return victim.logit(text) - math.log(probability / (1 - probability))

    best = lowered(1 - least_probable(victim, sentence, table, len(sentence.words)))
    found = PSO(table)(victim, sentence, 1)
    assert not found.success
    assert 0.9 * best <= lowered(found.probability) <= best + 1e-9  # a word that was replaced stays
    nearest = Table({word: {new: d for new, d in near.items() if d <= 0.5} for word, near in table.table.items()})
    best = lowered(1 - least_probable(victim, sentence, nearest, len(sentence.words)))
    assert lowered(IGA(table, share_of_words=1.0)(victim, sentence, 1).probability) >= best - 1e-9  # by way of others


@pytest.mark.parametrize('make', [PSO, lambda table: IGA(table, share_of_words=1.0)])
def test_the_one_word_that_decides_is_found(make):
    """One substitution of one word turns the decision; the first round of queries finds it."""
    victim = Linear({'good': 2.0, 'awful': -3.0}, bias=0.5)
    table = Table({'good': {'fine': 0.1, 'awful': 0.2}, 'film': {'movie': 0.1}})
    result = make(table)(victim, Sentence.of('A good film .'), 1)
    assert result.sentence.text == 'A awful film .'
    assert (result.success, result.changed, result.queries) == (True, (1,), 4)
    assert result.probability == pytest.approx(1 / (1 + math.exp(2.5)))
    assert result.share_changed == pytest.approx(1 / 3)


def test_several_words_are_replaced_where_one_is_not_enough():
    words = [group[0] for group in GROUPS]
    victim = Linear(dict.fromkeys(words, 1.0), bias=-2.5)  # four of six words have to go
    result = PSO(table_of([0.1] * 72))(victim, Sentence.of(' '.join(words)), 1)
    assert result.success and len(result.changed) >= 4
    assert not IGA(table_of([0.1] * 72))(victim, Sentence.of(' '.join(words)), 1).success  # only two may
    result = IGA(table_of([0.1] * 72), share_of_words=0.6)(victim, Sentence.of(' '.join(words)), 1)
    assert result.success and len(result.changed) == 4


def test_a_chain_of_replacements_ends_where_the_limit_says():
    """Each word of a chain can be replaced by the next one only, and lowers the score a little."""
    chain = [f'x{letter}' for letter in 'abcdefghij']
    table = Table({word: {after: 0.4} for word, after in itertools.pairwise(chain)})
    victim = Linear({word: -0.1 * place for place, word in enumerate(chain)}, bias=5.0)
    for uses in (1, 3, 5):
        attack = IGA(table, iterations=100, replacements_per_word=uses, share_of_words=1.0, temperature=0.3)
        assert attack(victim, Sentence.of('xa xa xa'), 1).sentence.words == (chain[uses],) * 3
    assert PSO(table)(victim, Sentence.of('xa xa xa'), 1).sentence.text == 'xb xb xb'  # replaces a word once


def test_only_near_substitutions_are_used_by_iga():
    table = Table({'good': {'far': 0.6, 'near': 0.5}})
    victim = Linear({'far': -9.0, 'near': -1.0}, bias=0.5)
    assert IGA(table, share_of_words=1.0)(victim, Sentence.of('good'), 1).sentence.text == 'near'
    assert IGA(table, max_distance=None)(victim, Sentence.of('good'), 1).sentence.text == 'far'
    assert IGA(table, max_distance=0.55)(victim, Sentence.of('good'), 1).sentence.text == 'near'
    assert PSO(table)(victim, Sentence.of('good'), 1).sentence.text == 'far'
    wide = Table({'good': {f'n{letter}': 0.1 for letter in 'abc'} | {'near': 0.2}})
    assert IGA(wide, candidates=3)(victim, Sentence.of('good'), 1).changed == ()
    assert IGA(wide, candidates=4)(victim, Sentence.of('good'), 1).changed == (0,)


@settings(max_examples=60, deadline=None)
@given(DISTANCES, WEIGHTS, TEXTS, st.floats(-2, 2), st.integers(0, 10**6), st.sampled_from([0.1, 0.2, 0.5, 1.0]))
def test_the_limits_hold_always(distances, weights, text, bias, number, share):
    table, victim = table_of(distances), Linear(dict(zip(WORDS, weights, strict=True)), bias)
    sentence = Sentence.of(text)
    label = int(victim([text])[0].argmax())
    for attack in (PSO(table, 6, 3), IGA(table, 6, 4, share_of_words=share, replacements_per_word=2)):
        own = Linear(victim.weights, bias)
        result = attack(own, sentence, label, number)
        assert own.asked[0] == text
        assert len(set(own.asked)) == len(own.asked) == result.queries
        row = own([result.sentence.text])[0]
        assert result.probability == pytest.approx(row[label])
        assert result.success == (row.argmax() != label)
        assert result.changed == result.sentence.changed(sentence)
        for asked in own.asked:
            words = Sentence.of(asked).words
            changed = [place for place, word in enumerate(words) if word != sentence.words[place]]
            if isinstance(attack, IGA):
                assert len(changed) <= math.ceil(share * len(words))
            for place in changed:
                assert sentence.words[place] not in FILLERS
                if isinstance(attack, PSO):
                    assert words[place] in table.table[sentence.words[place]]
                else:
                    assert within(table.table, sentence.words[place], words[place], 2)


def within(table, start, end, uses):
    """Tell whether so many replacements of a word, each near the one before, lead to another."""
    reached = {start}
    for _ in range(uses):
        reached |= {new for word in reached for new, distance in table.get(word, {}).items() if distance <= 0.5}
    return end in reached


def test_parents_are_drawn_by_score_in_the_direction_of_the_temperature():
    text, table, _ = problem(3, words=12)
    victim = Linear(dict(zip(WORDS, np.random.default_rng(0).normal(0, 0.3, 24), strict=True)), bias=3.0)
    asked = {}
    for temperature in (-0.3, 0.3, 1e9, -1e9):
        own = Linear(victim.weights, victim.bias)
        IGA(table, temperature=temperature)(own, Sentence.of(text), 1)
        asked[temperature] = own.asked
    assert asked[-0.3] != asked[0.3]
    assert asked[1e9] == asked[-1e9]  # where all members are equally probable parents


def test_a_small_temperature_neither_overflows_nor_divides_by_zero():
    text, table, victim = problem(3, words=12, bias=3.0)
    for temperature in (1e-4, -1e-4, 1e-300, -1e-300):
        with np.errstate(invalid='raise', divide='raise'):
            assert IGA(table, temperature=temperature)(victim, Sentence.of(text), 1).queries > 1


def test_iga_asks_about_the_words_of_its_first_population_only():
    """Any replacement is an error, so the random first member stops at its first word, and the search at once."""
    text = 'bka cka dka fka gka hka'
    victim = Linear(dict.fromkeys(text.split(), 5.0), bias=-27.0)
    IGA(table_of([0.1] * 72), population=2, iterations=1)(victim, Sentence.of(text), 1)
    assert len(victim.asked) <= 1 + 2 * 3
