"""Sources of substitutions and victims that tests make up."""

import dataclasses
import math
from collections import Counter

import numpy as np
from hypothesis import strategies as st

from samat_mm.words.substitutions import Substitutions


@dataclasses.dataclass(frozen=True, repr=False)
class Table(Substitutions):
    """Fixed substitutions: {word: {new word: distance}}."""

    table: dict

    def __call__(self, word, part_of_speech=None):
        return sorted(self.table.get(word, {}).items(), key=lambda item: item[1])

    @property
    def digest(self):
        return str(sorted(self.table))


class Linear:
    """A classifier that is logistic in the number of each word; keeps the texts that it is asked about."""

    def __init__(self, weights, bias=0.0):
        self.weights, self.bias = weights, bias
        self.asked, self.calls = [], 0

    def logit(self, text):
        return self.bias + sum(count * self.weights.get(word, 0.0) for word, count in Counter(text.split()).items())

    def __call__(self, texts):
        self.asked += texts
        self.calls += 1
        positive = np.array([1 / (1 + math.exp(-self.logit(text))) for text in texts])
        return np.stack([1 - positive, positive], axis=1)


GROUPS = [tuple(f'{letter}{variant}' for variant in ('ka', 'lo', 'mi', 'nu')) for letter in 'bcdfgh']
WORDS = [word for group in GROUPS for word in group]
FILLERS = ['the', 'of', ',', '.', 'xyz']  # stop words, punctuation, and a word without substitutions


def table_of(distances):
    """Return the table in which each word can be replaced by every other one of its group."""
    cycle = iter(distances)
    return Table({word: {new: next(cycle) for new in group if new != word} for group in GROUPS for word in group})


DISTANCES = st.lists(st.sampled_from([0.1, 0.3, 0.5, 0.7]), min_size=72, max_size=72)
WEIGHTS = st.lists(st.floats(-1, 1).map(lambda x: round(x, 3)), min_size=24, max_size=24)
TEXTS = st.lists(st.sampled_from(WORDS + FILLERS), min_size=1, max_size=14).map(' '.join)


def problem(seed, words=10, scale=0.6, bias=0.0):
    """Return a text, a table and a victim, made up from a seed."""
    random = np.random.default_rng(seed)
    text = ' '.join(random.choice(WORDS if random.random() < 0.7 else FILLERS) for _ in range(words))
    weights = dict(zip(WORDS, random.normal(0, scale, len(WORDS)).tolist(), strict=True))
    return text, table_of(random.choice([0.1, 0.3, 0.5, 0.7], 72).tolist()), Linear(weights, bias)
