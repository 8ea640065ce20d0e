"""What the tools do, as Python functions that take configs and return values."""

from samat_mm.api.evaluation import EvaluationReport, evaluate

__all__ = ['EvaluationReport', 'evaluate']
