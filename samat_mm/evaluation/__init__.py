"""From a checkpoint to numbers that can be believed."""

from samat_mm.evaluation.checkpoints import load_for_evaluation
from samat_mm.evaluation.report import build_report, print_report
from samat_mm.evaluation.worst_case import WorstCase, worst_case_miou

__all__ = ['WorstCase', 'build_report', 'load_for_evaluation', 'print_report', 'worst_case_miou']
