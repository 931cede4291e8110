"""Pure numerics: paired comparison, intervals, bootstrap over cells, DeLong, multiplicity, power and drift.

NumPy and SciPy only, no I/O; every function names its source. The rest is imported from the noun's module.
"""

from tidegate.stats.drift import calibrated_threshold, histogram, js_distance, quantile_edges
from tidegate.stats.estimate import Estimate

__all__ = ["Estimate", "calibrated_threshold", "histogram", "js_distance", "quantile_edges"]
