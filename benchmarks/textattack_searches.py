"""TextAttack's side of textattack_comparison.py, which runs this file in an environment with TextAttack 0.3.11.

    python textattack_searches.py FOLDER

FOLDER holds the problem; the queries and results of every search on every sentence are written to FOLDER/theirs.json.
"""

import json
import os
import pickle
import sys
from pathlib import Path

import numpy as np

PROBLEM = 'problem.json'
VECTORS, WORDS, CANDIDATES = 'vectors.npy', 'words.pkl', 'candidates.pkl'


def probabilities(texts: list[str], weights: dict[str, float], bias: float) -> np.ndarray:
    """Return the victim's class probabilities: logistic in the number of each word, in steps of 2 ** -20.

    TextAttack compares scores in single precision, in which these steps are exact.
    """
    logits = np.array([bias + sum(weights.get(word, 0.0) for word in text.split()) for text in texts])
    positive = np.round(2**20 / (1 + np.exp(-logits))) / 2**20
    return np.stack([1 - positive, positive], axis=1)


def main(folder: Path) -> None:
    problem = json.loads((folder / PROBLEM).read_text(encoding='utf-8'))
    corpus = folder / 'nltk_data' / 'corpora' / 'stopwords'
    corpus.mkdir(parents=True, exist_ok=True)
    (corpus / 'english').write_text('\n'.join(problem['stop_words']), encoding='utf-8')  # importing TextAttack reads it
    os.environ.update(NLTK_DATA=str(folder / 'nltk_data'), TA_CACHE_DIR=str(folder / 'cache'), HF_HUB_OFFLINE='1')

    import textattack
    from textattack.constraints.overlap import MaxWordsPerturbed
    from textattack.constraints.pre_transformation import RepeatModification, StopwordModification
    from textattack.constraints.semantics import WordEmbeddingDistance
    from textattack.goal_functions import UntargetedClassification
    from textattack.models.wrappers import ModelWrapper
    from textattack.search_methods import ImprovedGeneticAlgorithm, ParticleSwarmOptimization
    from textattack.shared import WordEmbedding
    from textattack.transformations import WordSwap, WordSwapEmbedding

    class Victim(ModelWrapper):
        def __init__(self) -> None:
            self.model, self.asked = self, []

        def __call__(self, texts: list[str]) -> np.ndarray:
            self.asked += texts
            return probabilities(texts, problem['weights'], problem['bias'])

    class CandidateSwap(WordSwap):
        """WordSwapHowNet without its download and its tagger."""

        def _get_replacement_words(self, word: str) -> list[str]:
            return [new for words in candidates.get(word, {}).values() for new in words]

    candidates = pickle.loads((folder / CANDIDATES).read_bytes())
    rows = pickle.loads((folder / WORDS).read_bytes())
    vectors = np.load(folder / VECTORS)
    nearest = np.argsort(((vectors[:, None] - vectors) ** 2).sum(2), axis=1)[:, :51]
    embedding = WordEmbedding(vectors, rows, {row: word for word, row in rows.items()}, nearest)
    kept = StopwordModification(stopwords=problem['stop_words'])
    near = WordEmbeddingDistance(embedding, max_mse_dist=0.5, compare_against_original=False)
    recipes = {  # as PSOZang2020 and IGAWang2019 build them
        'PSO': ([RepeatModification(), kept], CandidateSwap(), ParticleSwarmOptimization(pop_size=60, max_iters=20)),
        'IGA': (
            [kept, MaxWordsPerturbed(max_percent=0.2), near],
            WordSwapEmbedding(max_candidates=50, embedding=embedding),
            ImprovedGeneticAlgorithm(60, 20, max_replace_times_per_index=5, post_crossover_check=False),
        ),
    }
    found: dict[str, list[dict]] = {}
    for name, (constraints, transformation, search) in recipes.items():
        victim = Victim()
        goal = UntargetedClassification(victim, model_batch_size=10**6)
        attack = textattack.Attack(goal, constraints, transformation, search)
        found[name] = []
        for index, (sentence, label) in enumerate(zip(problem['sentences'], problem['labels'], strict=True)):
            np.random.seed([problem['seed'], index])
            victim.asked = []
            result = attack.attack(sentence, label)
            found[name].append(
                {
                    'queries': list(dict.fromkeys(victim.asked)),  # one call may ask about a text twice
                    'counted': result.num_queries,  # with those that its cache answered
                    'success': isinstance(result, textattack.attack_results.SuccessfulAttackResult),
                    'text': result.perturbed_text(),
                }
            )
            print(name, index, len(victim.asked), flush=True)
    (folder / 'theirs.json').write_text(json.dumps(found), encoding='utf-8')


if __name__ == '__main__':
    main(Path(sys.argv[1]))
