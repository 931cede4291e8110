"""Reports that the tests of rendering share: of every verdict, of every kind of rule, hostile, huge, and old."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
from gate_rows import binary_rows, policy, rule

from tidegate.gate import check, parse_report, report_bytes
from tidegate.records.report import (
    Change,
    Curve,
    Diffs,
    Explored,
    Flips,
    Interval,
    Problem,
    Report,
    RuleResult,
    Shown,
    SliceResult,
    Wear,
)
from tidegate.records.verdict import Verdict

HOSTILE = (
    '</script><script>alert(1)</script><img src=x onerror=alert(2)>" onload="alert(3)" | `a` ``` **b** [l](https://evil.example) '
    "https://evil.example www.evil.example a@b.co @octocat #12 GH-7 $x$ \x1b[31m\u202etxt.exe\u200b\r\n# h\n<!-- --> </details></summary>"
)


def judged_reports() -> dict[str, Report]:
    """One report of each verdict, from rows."""
    rows = binary_rows(4000, candidate_noise=0.45, champion_noise=0.7)
    rng = np.random.default_rng(1)
    rows["carrier"] = np.array(["AA", "B6", "DL", "UA"], dtype=object)[rng.integers(0, 4, 4000)]
    worse = rows["carrier"] == "UA"
    rows["new"] = np.where(worse, 0.6 * (1 - rows["new"]) + 0.4 * rows["new"], rows["new"])
    kept = {name: values[~worse] for name, values in rows.items()}
    few = {name: values[:200] for name, values in kept.items()}
    sliced = rule("brier", "not_worse", margin=0.005, slices=["carrier"])
    return {
        "PASS": check(kept, policy(rule("log_loss"), rule("roc_auc", "floor", value=0.6), key="id")),
        "FAIL": check(rows, policy(rule("log_loss"), sliced, rule("roc_auc", "floor", value=0.6), key="id")),
        "INCONCLUSIVE": check(few, policy(rule("f1", slices=["origin"]), rule("brier", "not_worse"))),
        "INVALID": check(rows, policy(label="late")),
    }


def interval(estimate: float, half: float = 0.0) -> Interval:
    """A symmetric interval; without a half width only the number."""
    return Interval(estimate=estimate, low=estimate - half if half else None, high=estimate + half if half else None)


def result(test: str, metric: str = "", verdict: str = "FAIL", **fields: Any) -> RuleResult:
    """One rule's outcome by hand."""
    given: dict[str, Any] = {
        "metric": metric or test, "test": test, "better": "lower", "margin": 0.0, "value": None, "verdict": Verdict(verdict),
        "reason": f"The reason of {test}.", "method": "counted", "candidate": interval(0.5), "champion": None, "difference": None,
    }  # fmt: skip
    return RuleResult(**(given | fields))


def every_kind() -> Report:
    """A report with a rule of every kind, and everything else that a report can hold."""
    row = Shown(key="r1", label="1", candidate="0.1", champion="0.9", note="wrong")
    rules = [
        result("superior", "log_loss", "PASS", candidate=interval(0.4), champion=interval(0.5), difference=interval(-0.1, 0.02)),
        result("not_worse", "mae", margin=0.1, champion=interval(0.3), difference=interval(0.2, 0.05), against="anchor", tipping=40),
        result("floor", "roc_auc", "INCONCLUSIVE", better="higher", value=0.8, candidate=interval(0.81, 0.02), more_rows=1234),
        result("golden", "golden rows", better="higher", candidate=interval(0.9), shown=[row]),
        result("flips", value=0.01, candidate=interval(0.02, 0.004)),
        result("gap", "recall", value=0.1, better="higher", candidate=interval(0.2, 0.03)),
        result("latency", value=1.5, relative=True, candidate=interval(8.0, 0.2), champion=interval(4.0, 0.2),
               details={"ratio": 2.0, "ratio_low": 1.9, "ratio_high": 2.1}),
        result("size", value=10.0, candidate=interval(12.0)),
        result("schema", shown=[Shown(key="input x", label="", candidate="float32", champion="", note="callers do not send it")]),
        result("leakage", verdict="INVALID", problem=Problem(code="leakage", what="rows", fix="train on others")),
        result("freshness", verdict="PASS", candidate=interval(3.0), details={"allowed_days": 30.0}),
        result("label_coverage", "label coverage", "INCONCLUSIVE", better="higher", value=0.95, candidate=interval(0.9)),
    ]  # fmt: skip
    change = [Change(what="a", before="1", after="2")]
    return Report(
        schema=2,
        title="delay@3 against delay@2 on flights-eval@1",
        verdict=Verdict.INVALID,
        sentence="Do not ship: it leaks.",
        task="binary",
        candidate="delay@3",
        champion="delay@2",
        rows=1000,
        clusters=8,
        confidence=0.95,
        seed=0,
        rules=rules,
        problems=[Problem(code="leakage", what="rows of the training", fix="train on others")],
        warnings=[Problem(code="lineage-unknown", what="who knows", fix="")],
        snapshot="flights-eval@1",
        policy_digest="ab" * 32,
        anchor="delay@1",
        advice=["Collect about 1,200 more rows."],
        flips=Flips(gained=30, lost=20, worst=[row], asked="right at a threshold of 0.5"),
        curves=[
            Curve(kind="confusion", candidate_x=[], candidate_y=[], candidate_weight=[4.0], champion_weight=[3.0], label=["a taken for b"]),
            Curve(kind="roc", candidate_x=[0, 0.1, 1], candidate_y=[0, 0.7, 1], champion_x=[0, 1], champion_y=[0, 1]),
            Curve(kind="residuals", candidate_x=[0.1, 0.5, 0.9], candidate_y=[-2.0, 0.1, 3.0]),
            Curve(kind="scatter", candidate_x=[0.1, 0.9], candidate_y=[0.9, 0.1], label=["gained", "lost"], note="all 2 rows"),
        ],
        explored=[Explored(where="carrier = UA", rows=40, metric="recall", difference=interval(-0.1, 0.05), p=0.01)],
        wear=Wear(uses=3, alpha_spent=0.09, first_used=0, age_days=12.0),
        diffs=Diffs(code=change, data=change, model=change, predictions=change),
    )  # fmt: skip


def hostile(report: Report) -> Report:
    """The same report with the hostile text wherever a name, key or value of somebody else stands."""
    plain = {"verdict", "test", "better", "kind", "schema", "task", "against"}

    def poison(value: Any, name: str) -> Any:
        if isinstance(value, dict):
            return {key: poison(item, key) for key, item in value.items()}
        if isinstance(value, list):
            return [poison(item, name) for item in value]
        labelled = name == "label" and value in {"gained", "lost", "right", "wrong"}
        return f"{value} {HOSTILE}" if isinstance(value, str) and name not in plain and not labelled else value

    return parse_report(json.dumps(poison(json.loads(report_bytes(report)), "")).encode())


def huge() -> Report:
    """A report with as many and as long texts as anybody could bring."""
    long = "x" * 5000
    parts = [
        SliceResult(
            column="c", value=f"{place} {HOSTILE} {long}", rows=10, verdict=Verdict.FAIL if place % 2 else Verdict.PASS,
            candidate=interval(0.5, 0.1), champion=interval(0.4, 0.1), difference=interval(0.1, 0.05), reason=long,
        )
        for place in range(500)
    ]  # fmt: skip
    full = every_kind()
    shown = [Shown(key=long, label=long, candidate=long, champion=long)] * 20
    lines = [Change(what=f"{place} {long}", before=long, after=long) for place in range(60)]
    return parse_report(
        json.dumps(
            json.loads(report_bytes(full))
            | {
                "sentence": long,
                "rules": [
                    json.loads(_bytes(result("not_worse", f"m{i}", slices=parts, shown=shown, reason=long))) for i in range(4)
                ],
                "advice": [long] * 12,
                "diffs": json.loads(_bytes(Diffs(code=lines, data=lines, model=lines, predictions=lines))),
            }
        ).encode()
    )


def _bytes(record: Any) -> bytes:
    return msgspec.json.encode(record)


OLD: dict[str, Any] = {
    "schema": 1, "title": "new against old on predictions.csv", "verdict": "PASS", "task": "binary", "candidate": "new",
    "champion": "old", "sentence": "Ship: the rule holds on 4,000 rows. log_loss is 0.51 against 0.58: better by 0.07.",
    "rows": 4000, "clusters": None, "confidence": 0.95, "seed": 0, "problems": [], "warnings": [], "snapshot": "", "policy_digest": "",
    "rules": [
        {
            "metric": "log_loss", "test": "superior", "better": "lower", "margin": 0.0, "value": None, "verdict": "PASS",
            "reason": "log_loss is 0.51 against 0.58: better by 0.07.", "method": "paired t", "more_rows": None, "details": {},
            "candidate": {"estimate": 0.51, "low": 0.5, "high": 0.52}, "champion": {"estimate": 0.58, "low": 0.57, "high": 0.59},
            "difference": {"estimate": -0.07, "low": -0.09, "high": -0.05},
            "slices": [
                {
                    "column": "origin", "value": "JFK", "rows": 1300, "verdict": "PASS", "reason": "it is not worse",
                    "candidate": {"estimate": 0.5, "low": 0.49, "high": 0.51}, "champion": None,
                    "difference": {"estimate": -0.05, "low": -0.06, "high": -0.04},
                }
            ],
        }
    ],
}  # fmt: skip
"""A report as version 0.1 wrote it (schema 1)."""
