"""Whether two series rise together."""

from collections.abc import Sequence

from scipy.stats import spearmanr


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return Spearman's correlation of two series, None where one of them is constant or shorter than 3."""
    if len(first) < 3 or len(set(first)) == 1 or len(set(second)) == 1:
        return None
    return float(spearmanr(first, second).statistic)
