"""Pure numerics: paired comparison, intervals, bootstrap over cells, DeLong, multiplicity, power and drift.

NumPy and SciPy only, no I/O; every function names its source. Import from the noun's module.
"""
