"""The gate: policy and evidence in, verdict and receipt out.

``check`` judges columns of one file; ``judge`` judges model versions on a frozen snapshot; both end in the same report.
"""

from tidegate.gate.check import check
from tidegate.gate.policy import load_check_policy, parse_check_policy, parse_model_policy, policy_digest
from tidegate.gate.report import parse_report, report_bytes

__all__ = [
    "check",
    "load_check_policy",
    "parse_check_policy",
    "parse_model_policy",
    "parse_report",
    "policy_digest",
    "report_bytes",
]
