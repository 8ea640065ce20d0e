"""Attacks on the words of a sentence. Importing this registers their types, and imports no tokenizer and no model."""

from samat_mm.registry import ATTACKS, SUBSTITUTIONS
from samat_mm.text.attacks import WORD_ATTACK_TYPES
from samat_mm.text.substitutions import SUBSTITUTION_TYPES

for attack_type in WORD_ATTACK_TYPES:
    ATTACKS.register_module(module=attack_type)
for source_type in SUBSTITUTION_TYPES:
    SUBSTITUTIONS.register_module(module=source_type)
