"""IGA on one sentence in plain loops, text by text, from Wang et al. (2021) and TextAttack's search.

Sentences are lists of words. Every random number is drawn where it is needed, as TextAttack does; unlike it,
the search does not ask about words beyond the population.
"""

import math

import numpy as np


def search(ask, original, options, population, iterations, seed, *, uses, share, temperature, retries):
    """Return the words of the result, and whether the model errs on it.

    Args:
        ask: from words to (1 - probability of the label, whether the model errs).
        original: the words.
        options: from a word to its substitutions, near enough.
        population: number of members.
        iterations: number of generations.
        seed: what ``numpy.random.RandomState`` takes.
        uses: how often a word may be replaced.
        share: share of the words that may differ.
        temperature: of the draw of parents.
        retries: of a crossover with too many replacements; None to keep it.
    """
    random, length = np.random.RandomState(seed), len(original)

    def allowed(words):
        return sum(new != old for new, old in zip(words, original, strict=True)) <= math.ceil(share * length)

    def improved(words, left, place=None):
        ask(words)
        weights = [float(count) for count in left]
        for _ in range(sum(weight > 0 for weight in weights)):
            at = place
            if at is None:
                at = random.choice(length, 1, p=np.array(weights) / sum(weights))[0]
            near = [[*words[:at], new, *words[at + 1 :]] for new in options(words[at])]
            near = sorted((found for found in near if allowed(found)), key=lambda found: ' '.join(found))
            if not near:
                continue
            scores = [ask(found)[0] for found in near]
            if max(scores) > ask(words)[0]:
                return near[scores.index(max(scores))], [count - (at == here) for here, count in enumerate(left)]
            weights[at] = 0.0
        return words, left

    def child_of(one, other):
        for _ in range(1 if retries is None else retries + 1):
            cut = random.randint(0, length)
            child = one[0][:cut] + other[0][cut:]
            if retries is None or allowed(child):
                return child, one[1][:cut] + other[1][cut:]
        return one if random.uniform() < 0.5 else other

    members = []
    for place in range(min(length, population)):  # a random word in place of the first
        members.append(improved(original, [uses] * length, place if place > 0 else None))
    for _ in range(iterations):
        members.sort(key=lambda member: ask(member[0])[0], reverse=True)
        if ask(members[0][0])[1]:
            break
        weights = np.array([math.exp(ask(words)[0] / temperature) for words, _ in members])
        count = len(members)
        first = random.choice(count, size=count - 1, p=weights / weights.sum())
        second = random.choice(count, size=count - 1, p=weights / weights.sum())
        children = []
        for one, other in zip(first, second, strict=True):
            children.append(improved(*child_of(members[one], members[other])))
        members = [members[0], *children]
    best = max((words for words, _ in members), key=lambda words: ask(words)[0])
    return best, ask(best)[1]
