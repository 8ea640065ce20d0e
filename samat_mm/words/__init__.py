"""Attacks on the words of a sentence, without any model: plain NumPy. Importing this registers their types."""

from samat_mm.registry import ATTACKS, SUBSTITUTIONS
from samat_mm.words.attacks import WORD_ATTACK_TYPES
from samat_mm.words.substitutions import SUBSTITUTION_TYPES

for attack_type in WORD_ATTACK_TYPES:
    ATTACKS.register_module(module=attack_type)
for source_type in SUBSTITUTION_TYPES:
    SUBSTITUTIONS.register_module(module=source_type)
