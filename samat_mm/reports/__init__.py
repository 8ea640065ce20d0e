"""Reports of evaluations as values, and their comparison."""

from samat_mm.reports.comparison import Comparison
from samat_mm.reports.report import Report

__all__ = ['Comparison', 'Report']
