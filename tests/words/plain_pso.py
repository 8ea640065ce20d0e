"""PSO on one sentence in plain loops, text by text, from the equations of Zang et al. (2020) and TextAttack's search.

Sentences are lists of words. Every random number is drawn where it is needed, as TextAttack does.
"""

import numpy as np

FASTEST = 3.0


def pull(one, other):
    return -FASTEST if one == other else FASTEST


def search(ask, original, options, population, iterations, seed):
    """Return the words of the result, and whether the model errs on it.

    Args:
        ask: from words to (1 - probability of the label, whether the model errs).
        original: the words.
        options: from a word of the original to its substitutions.
        population: number of particles.
        iterations: number of moves.
        seed: what ``numpy.random.RandomState`` takes.
    """
    random, length = np.random.RandomState(seed), len(original)

    def mutated(words):
        steps, gains = [], []
        for place in range(length):
            near = [[*words[:place], new, *words[place + 1 :]] for new in options(words[place])]
            if words[place] != original[place] or not near:
                steps.append(words)
                gains.append(0.0)
                continue
            near.sort(key=lambda found: ' '.join(found))
            scores = [ask(found)[0] for found in near]
            steps.append(near[scores.index(max(scores))])
            gains.append(max(max(scores) - ask(words)[0], 0.0))
        total = sum(gains)
        chances = [gain / total for gain in gains] if total else [1 / length] * length
        return steps[random.choice(length, 1, p=np.array(chances))[0]]

    def turned(goal, words, stays):
        return [own if random.uniform() < stay else its for own, its, stay in zip(words, goal, stays, strict=True)]

    def best_of(sentences):
        return max(sentences, key=lambda words: ask(words)[0])

    particles = [mutated(original) for _ in range(population)]
    speed = [[value] * length for value in random.uniform(-FASTEST, FASTEST, population)]
    common = best_of(particles)
    if ask(common)[1]:
        return common, True
    own = list(particles)
    for step in range(iterations):
        inertia = 0.6 * (iterations - step) / iterations + 0.2
        to_own, to_common = 0.8 - 0.6 * step / iterations, 0.2 + 0.6 * step / iterations
        for number in range(population):
            for place in range(length):
                word = particles[number][place]
                attraction = pull(word, own[number][place]) + pull(word, common[place])
                speed[number][place] = inertia * speed[number][place] + (1 - inertia) * attraction
            stays = [1 / (1 + np.exp(-value)) for value in speed[number]]
            if random.uniform() < to_own:
                particles[number] = turned(own[number], particles[number], stays)
            if random.uniform() < to_common:
                particles[number] = turned(common, particles[number], stays)
        for words in particles:
            ask(words)
        if ask(best_of(particles))[1]:
            return best_of(particles), True
        for number in range(population):
            changed = sum(new != old for new, old in zip(particles[number], original, strict=True))
            if random.uniform() < 1 - 2 * changed / length:
                particles[number] = mutated(particles[number])
        if ask(best_of(particles))[1]:
            return best_of(particles), True
        for number in range(population):
            if ask(particles[number])[0] > ask(own[number])[0]:
                own[number] = particles[number]
        if ask(best_of(particles))[0] > ask(common)[0]:
            common = best_of(particles)
    return common, False
