"""The tools as Python functions, which take configs and return values."""

from samat_mm.api.evaluation import EvaluationReport, evaluate

__all__ = ['EvaluationReport', 'evaluate']
