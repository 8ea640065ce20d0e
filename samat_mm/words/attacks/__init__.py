"""Attacks on the words of a sentence."""

from samat_mm.words.attacks.base import WordAttack, WordProblem
from samat_mm.words.attacks.iga import IGA
from samat_mm.words.attacks.pso import PSO
from samat_mm.words.attacks.result import WordAttackResult
from samat_mm.words.attacks.victim import Predict

WORD_ATTACK_TYPES: tuple[type[WordAttack], ...] = (PSO, IGA)

__all__ = ['IGA', 'PSO', 'WORD_ATTACK_TYPES', 'Predict', 'WordAttack', 'WordAttackResult', 'WordProblem']
