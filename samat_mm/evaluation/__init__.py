"""Scores of a model, clean and under attacks, and the checks that support them."""

from samat_mm.evaluation.evaluation_result import EvaluationResult
from samat_mm.evaluation.report import (
    build_report,
    describe_evaluation,
    per_class_section,
)
from samat_mm.evaluation.sanity import SanityChecks, surrogate
from samat_mm.evaluation.sanity_verdicts import verdicts_of
from samat_mm.evaluation.terminal import print_report, print_verdicts
from samat_mm.evaluation.verdict import Verdict
from samat_mm.evaluation.worst_case import WorstCase, worst_case_miou

__all__ = [
    'EvaluationResult',
    'SanityChecks',
    'Verdict',
    'WorstCase',
    'build_report',
    'describe_evaluation',
    'per_class_section',
    'print_report',
    'print_verdicts',
    'surrogate',
    'verdicts_of',
    'worst_case_miou',
]
