"""From a checkpoint to numbers that can be believed."""

from samat_mm.evaluation.report import (
    build_report,
    describe_evaluation,
    per_class_section,
    print_report,
    print_verdicts,
)
from samat_mm.evaluation.sanity import SanityChecks, Verdict, surrogate
from samat_mm.evaluation.worst_case import WorstCase, worst_case_miou

__all__ = [
    'SanityChecks',
    'Verdict',
    'WorstCase',
    'build_report',
    'describe_evaluation',
    'per_class_section',
    'print_report',
    'print_verdicts',
    'surrogate',
    'worst_case_miou',
]
