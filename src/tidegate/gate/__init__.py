"""The gate: policy and evidence in, verdict and receipt out.

``check`` judges columns of one file; ``judge`` judges model versions on a frozen snapshot; both end in the same report.
"""

from tidegate.gate.check import check
from tidegate.gate.judge import Judgement, judge
from tidegate.gate.policy import load_check_policy, parse_check_policy, parse_model_policy, policy_digest
from tidegate.gate.receipt import find_receipt, list_receipts, make_receipt, read_receipt, read_report, receipt_key, store_receipt
from tidegate.gate.render import render_html, render_markdown, render_rich, render_text
from tidegate.gate.report import parse_report, report_bytes

__all__ = [
    "Judgement",
    "check",
    "find_receipt",
    "judge",
    "list_receipts",
    "load_check_policy",
    "make_receipt",
    "parse_check_policy",
    "parse_model_policy",
    "parse_report",
    "policy_digest",
    "read_receipt",
    "read_report",
    "receipt_key",
    "render_html",
    "render_markdown",
    "render_rich",
    "render_text",
    "report_bytes",
    "store_receipt",
]
