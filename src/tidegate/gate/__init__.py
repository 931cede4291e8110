"""The gate: policy and evidence in, verdict and receipt out.

``check`` judges columns of one file; ``judge`` judges model versions on a frozen snapshot; both end in the same report.
"""

from tidegate.gate.attestation import require_signing_key, store_attestation, verify_attestation
from tidegate.gate.before import find_loosening, find_loosening_of_file
from tidegate.gate.case import History, Subject
from tidegate.gate.check import check
from tidegate.gate.judge import Judgement, Rehearsal, judge, rehearse
from tidegate.gate.loosening import loosened
from tidegate.gate.metrics import importable, is_target
from tidegate.gate.origins import find_diffs
from tidegate.gate.plan import Plan, ToLabel, plan_evaluation
from tidegate.gate.policy import (
    asks_anchor,
    load_check_policy,
    parse_check_policy,
    parse_model_policy,
    policy_digest,
    read_policy_file,
)
from tidegate.gate.receipt import (
    make_receipt,
    read_policy,
    read_receipt,
    read_report,
    receipt_key,
    receipts_in,
    store_receipt,
)
from tidegate.gate.render import page_policy, render_html, render_markdown, render_rich, render_text, sticky_marker
from tidegate.gate.report import parse_report, report_bytes, report_schema
from tidegate.gate.selftest import SelfTest, selftest
from tidegate.gate.wear import find_wear

__all__ = [
    "History",
    "Judgement",
    "Plan",
    "Rehearsal",
    "SelfTest",
    "Subject",
    "ToLabel",
    "asks_anchor",
    "check",
    "find_diffs",
    "find_loosening",
    "find_loosening_of_file",
    "find_wear",
    "importable",
    "is_target",
    "judge",
    "load_check_policy",
    "loosened",
    "make_receipt",
    "page_policy",
    "parse_check_policy",
    "parse_model_policy",
    "parse_report",
    "plan_evaluation",
    "policy_digest",
    "read_policy",
    "read_policy_file",
    "read_receipt",
    "read_report",
    "receipt_key",
    "receipts_in",
    "rehearse",
    "render_html",
    "render_markdown",
    "render_rich",
    "render_text",
    "report_bytes",
    "report_schema",
    "require_signing_key",
    "selftest",
    "sticky_marker",
    "store_attestation",
    "store_receipt",
    "verify_attestation",
]
