"""Evidence: the rows that a gate judges by, read from any frame, checked column by column, held as plain arrays.

Everything that makes rows unusable is collected as a problem with a code and a sentence; one problem makes the verdict INVALID.
A whole frame is read by ``read_evidence``. What is too large for memory is surveyed once and then read in portions: ``survey``,
``fetch``, ``report_summaries``, ``report_doubts``.
"""

from tidegate.gate.evidence.evidence import MIN_CLUSTERS, MIN_ROWS, Evidence, Groups, Slicing, is_hard
from tidegate.gate.evidence.groups import MAX_SLICES
from tidegate.gate.evidence.labelling import MISSING
from tidegate.gate.evidence.layout import Layout, fetch, report_doubts, report_summaries, survey
from tidegate.gate.evidence.reading import Reading
from tidegate.gate.evidence.rows import read_evidence
from tidegate.gate.evidence.spread import columns_named, label_shares

__all__ = [
    "MAX_SLICES",
    "MIN_CLUSTERS",
    "MIN_ROWS",
    "MISSING",
    "Evidence",
    "Groups",
    "Layout",
    "Reading",
    "Slicing",
    "columns_named",
    "fetch",
    "is_hard",
    "label_shares",
    "read_evidence",
    "report_doubts",
    "report_summaries",
    "survey",
]
