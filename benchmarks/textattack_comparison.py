"""Compare PSO and IGA with TextAttack 0.3.11's searches, query by query.

    python3 -m venv /tmp/textattack
    /tmp/textattack/bin/pip install textattack==0.3.11 transformers==4.57.6 'huggingface-hub<1' 'datasets<4.5'
    python benchmarks/textattack_comparison.py --textattack /tmp/textattack/bin/python --out docs/textattack.json

TextAttack does not import beside transformers 5, so it runs in an environment of its own, and both sides read the same
problem from files: made-up words in groups, their vectors and candidates, sentences of them, and a logistic model of
the number of each word. Of every sentence the texts that the model is asked about have to be the same, in the same
order.
"""

import argparse
import json
import math
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from common import show
from records import write_json
from textattack_searches import CANDIDATES, PROBLEM, VECTORS, WORDS, probabilities

from samat_mm.words.attacks import IGA, PSO, WordAttack
from samat_mm.words.sentence import Sentence
from samat_mm.words.stop_words import STOP_WORDS
from samat_mm.words.substitutions import CounterFittedVectors, HowNet

SEED = 0
GROUPS, GROUP = 150, 6  # groups of made-up words that may replace each other, and words in each
SIDE = 0.35  # of the cube in which the vectors of a group lie: many but not all distances are below 0.5
DIMENSIONS = 8
FORMS: dict[str, dict[str, Any]] = {
    "TextAttack's recipe": dict(crossover_retries=None),
    'limited children (the default)': {},
    'limited children, better parents (temperature 0.3)': dict(temperature=0.3),
}


def made_up_words(random: np.random.Generator) -> list[str]:
    """Return different words of lower-case letters, none of which is a stop word."""
    words: dict[str, None] = {}
    while len(words) < GROUPS * GROUP:
        word = ''.join(random.choice(list('abcdefghijklmnopqrstuvwxyz'), random.integers(4, 9)))
        if word not in STOP_WORDS:
            words[word] = None
    return list(words)


def make_problem(folder: Path, sentences: int) -> dict[str, Any]:
    """Write the problem into a folder, and return the part that is in JSON."""
    random = np.random.default_rng(SEED)
    words = made_up_words(random)
    groups = [words[start : start + GROUP] for start in range(0, len(words), GROUP)]
    centres = 10 * random.standard_normal((GROUPS, DIMENSIONS))
    vectors = np.repeat(centres, GROUP, axis=0) + SIDE * random.uniform(-1, 1, (len(words), DIMENSIONS))
    np.save(folder / VECTORS, vectors)
    candidates = {word: {'noun': [other for other in group if other != word]} for group in groups for word in group}
    (folder / WORDS).write_bytes(pickle.dumps({word: row for row, word in enumerate(words)}))
    (folder / CANDIDATES).write_bytes(pickle.dumps(candidates))
    weights = np.repeat(random.normal(0, 0.5, GROUPS), GROUP) + random.normal(0, 0.3, len(words))
    fillers = [*sorted(STOP_WORDS)[:40], ',', '.']
    texts = [
        ' '.join(random.choice(words if random.random() < 0.6 else fillers) for _ in range(random.integers(4, 20)))
        for _ in range(sentences)
    ]
    problem = {
        'seed': SEED,
        'stop_words': sorted(STOP_WORDS),
        'weights': {word: float(weight) for word, weight in zip(words, weights, strict=True)},
        'bias': 0.1,
        'sentences': texts,
    }
    labels = probabilities(texts, problem['weights'], problem['bias']).argmax(1).tolist()
    (folder / PROBLEM).write_text(json.dumps({**problem, 'labels': labels}), encoding='utf-8')
    return {**problem, 'labels': labels}


def attacked(attack: WordAttack, problem: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the queries and the result of each sentence."""
    asked: list[str] = []

    def predict(texts: list[str]) -> np.ndarray:
        asked.extend(texts)
        return probabilities(texts, problem['weights'], problem['bias'])

    found = []
    for index, (text, label) in enumerate(zip(problem['sentences'], problem['labels'], strict=True)):
        asked.clear()
        result = attack(predict, Sentence.of(text), label, index)
        counts = {'changed': len(result.changed), 'words': len(result.sentence.words)}
        found.append({'queries': list(asked), 'success': result.success, 'text': result.sentence.text, **counts})
    return found


def compared(name: str, ours: Sequence[dict], theirs: Sequence[dict]) -> dict[str, Any]:
    """Return what the comparison of a search found."""
    differing = [
        index for index, (own, its) in enumerate(zip(ours, theirs, strict=True)) if own['queries'] != its['queries']
    ]
    return {
        'search': name,
        'sentences': len(ours),
        'queries': sum(len(own['queries']) for own in ours),
        'sentences with other queries': differing,
        'same success': sum(own['success'] == its['success'] for own, its in zip(ours, theirs, strict=True)),
        'same text': sum(own['text'] == its['text'] for own, its in zip(ours, theirs, strict=True)),
        'successes, ours': sum(own['success'] for own in ours),
        'successes, TextAttack': sum(its['success'] for its in theirs),
        'queries that TextAttack counts': sum(its['counted'] for its in theirs),
    }


def described(form: str, found: Sequence[dict]) -> dict[str, Any]:
    """Return what a form of IGA reached."""
    errors = [own for own in found if own['success']]
    return {
        'form': form,
        'successes': len(errors),
        'of these above 20 % of the words': sum(own['changed'] > math.ceil(0.2 * own['words']) for own in errors),
        'queries': sum(len(own['queries']) for own in found),
    }


def main() -> None:
    """Run both sides, and tabulate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--textattack', required=True, help='Python of the environment with TextAttack')
    parser.add_argument('--sentences', type=int, default=60)
    parser.add_argument('--out', metavar='FILE.json')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        problem = make_problem(folder, args.sentences)
        vectors = CounterFittedVectors(str(folder / VECTORS), str(folder / WORDS))
        attacks = {
            'PSO': PSO(HowNet(str(folder / CANDIDATES)), seed=SEED),
            'IGA': IGA(vectors, crossover_retries=None, seed=SEED),
        }
        start = time.monotonic()
        ours = {name: attacked(attack, problem) for name, attack in attacks.items()}
        seconds = time.monotonic() - start
        forms = {name: attacked(IGA(vectors, seed=SEED, **changes), problem) for name, changes in FORMS.items()}
        searches = Path(__file__).with_name('textattack_searches.py')
        start = time.monotonic()
        subprocess.run([args.textattack, str(searches), str(folder)], check=True, stdout=sys.stderr)
        theirs = json.loads((folder / 'theirs.json').read_text(encoding='utf-8'))
        print(f'ours: {seconds:.0f} s; TextAttack with its import: {time.monotonic() - start:.0f} s')
    rows = [compared(name, ours[name], theirs[name]) for name in ours]
    limited = [described(name, found) for name, found in forms.items()]
    show('Queries, compared one by one', [{key: str(value) for key, value in row.items()} for row in rows])
    show('Forms of IGA', [{key: str(value) for key, value in row.items()} for row in limited])
    if args.out:
        write_json(Path(args.out), {'date': date.today().isoformat(), 'searches': rows, 'forms of IGA': limited})
    if any(row['sentences with other queries'] for row in rows):
        sys.exit('the queries differ')


if __name__ == '__main__':
    main()
