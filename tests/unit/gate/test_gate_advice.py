"""What would change the verdict: true, short, and never to ask for less."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace
from report_cases import every_kind, interval, judged_reports, result

from tidegate.gate.advice import MOST, advise
from tidegate.records.report import RuleResult, SliceResult
from tidegate.records.verdict import Verdict

REPORTS = judged_reports()


def said(verdict: str, *rules: RuleResult, rows: int = 1000, clusters: int | None = None) -> list[str]:
    return advise(Verdict(verdict), list(rules), rows=rows, clusters=clusters)


def test_nobody_is_told_to_ask_for_less() -> None:
    everything = [sentence for report in REPORTS.values() for sentence in report.advice]
    everything += said("FAIL", *every_kind().rules)
    assert everything
    assert not [
        sentence for sentence in everything if re.search(r"loosen|lower the|raise the|(larger|smaller|wider) margin", sentence)
    ]


def test_a_slice_that_stops_is_named_with_what_was_found_there() -> None:
    text = REPORTS["FAIL"].advice[0]
    found = re.fullmatch(
        r"brier is stopped by carrier = UA \([\d,]+ rows\)\. On carrier = UA its gain is (.*), the bound is -0\.005\. (.*)", text
    )
    assert found
    assert re.fullmatch(r"-0\.\d+ \(-0\.\d+ to -0\.\d+\)", found[1])
    assert found[2] == "Look first at what the candidate gets wrong there."


def test_a_rule_that_fails_says_its_gain_and_its_bound() -> None:
    worse = result("not_worse", "mae", margin=0.1, difference=interval(0.2, 0.05))
    (text,) = said("FAIL", worse)
    assert text.startswith("mae fails: its gain is -0.2 (-0.25 to -0.15) and must be shown to lie above -0.1. ")
    assert text.endswith("More rows will not change that; another candidate may.")
    low = result("floor", "roc_auc", better="higher", value=0.8, candidate=interval(0.7, 0.02))
    assert said("FAIL", low)[0].startswith("roc_auc fails: it is 0.7 (0.68 to 0.72) and must be shown to be at least 0.8.")


def test_rows_that_explain_are_named() -> None:
    golden = next(rule for rule in every_kind().rules if rule.test == "golden")
    assert said("FAIL", golden) == ["golden rows: get r1 right."]


def test_too_few_rows_and_clusters_say_how_many_more() -> None:
    open_rule = result("superior", "brier", "INCONCLUSIVE", difference=interval(-0.01, 0.02), more_rows=3456)
    (text,) = said("INCONCLUSIVE", open_rule)
    assert text.startswith("Collect about 3,500 more rows like these: they would probably settle brier; ")
    assert text.endswith("its gain is +0.01 (-0.01 to +0.03) and must be shown to lie above 0.")
    few = said("INCONCLUSIVE", result("floor", "recall", "INCONCLUSIVE", value=0.5, reason="8 clusters are too few."), clusters=8)
    assert few[-1] == "Collect rows of at least 2 more clusters: more rows of the same 8 add next to nothing."
    assert any("origin = EWR" in sentence and "Collect about" in sentence for sentence in REPORTS["INCONCLUSIVE"].advice)


def test_a_pass_says_its_closest_call() -> None:
    near = SliceResult(column="c", value="v", rows=50, verdict=Verdict.PASS, candidate=interval(0.5), champion=interval(0.5),
                       difference=interval(-0.02, 0.019), reason="")  # fmt: skip
    far = result("superior", "log_loss", "PASS", difference=interval(-0.5, 0.01))
    assert said("PASS", far, result("not_worse", "brier", "PASS", difference=interval(-0.3, 0.01), slices=[near])) == [
        "The closest call is brier on c = v: its gain is +0.02 (+0.001 to +0.039) and had to be shown to lie above 0."
    ]


@pytest.mark.parametrize(
    ("tipping", "ending"),
    [(12, "check the labels of the rows that changed sides first."), (400, "In well-known test sets about 3% are.")],
)
def test_the_tipping_point_is_compared_with_what_is_usual(tipping: int, ending: str) -> None:
    tips = result("superior", "accuracy", "PASS", difference=interval(0.1, 0.01), better="higher", tipping=tipping)
    text = said("PASS", replace(tips, metric="brier", tipping=999), tips)[-1]
    assert text.startswith(
        f"Of 1,000 labels some may be wrong: the verdict would change on accuracy if {tipping} were ({tipping / 10:g}%), on brier"
    )
    assert text.endswith(ending)
    nothing = replace(tips, tipping=None)
    assert not [sentence for sentence in said("PASS", nothing) if "labels" in sentence]


def test_it_stays_short() -> None:
    many = [result("not_worse", f"m{place}", difference=interval(0.2, 0.05)) for place in range(40)]
    assert len(said("FAIL", *many)) == MOST
    assert said("INVALID", *many) == [
        "Mend what is wrong with the evidence and judge again: nothing was concluded about the candidate."
    ]


def test_only_rules_that_have_the_verdict_say_when_they_would_tip() -> None:
    passing = result("floor", "roc_auc", "PASS", better="higher", value=0.5, candidate=interval(0.7, 0.02), tipping=5)
    failing = result("superior", "brier", "FAIL", difference=interval(0.1, 0.01), tipping=70)
    assert "roc_auc" not in " ".join(said("FAIL", passing, failing))
    assert "on brier if 70 were (7%)" in said("FAIL", passing, failing)[-1]


def test_slices_that_must_only_not_be_proven_worse_are_no_call_and_no_bill() -> None:
    part = SliceResult(column="c", value="v", rows=50, verdict=Verdict.PASS, candidate=interval(0.5), champion=interval(0.5),
                       difference=interval(-0.02, 0.019), reason="")  # fmt: skip
    rule = result(
        "not_worse", "brier", "PASS", difference=interval(-0.3, 0.01), slices=[part], slice_mode="none_worse", margin=0.01
    )
    assert said("PASS", rule) == [
        "The closest call is brier: its gain is +0.3 (+0.29 to +0.31) and had to be shown to lie above -0.01."
    ]
    tiny = replace(part, verdict=Verdict.INCONCLUSIVE)
    opened = replace(rule, verdict=Verdict.INCONCLUSIVE, difference=interval(0.0, 0.02), slices=[tiny], more_rows=700)
    (text,) = said("INCONCLUSIVE", opened)
    assert "c = v" not in text
    assert text.startswith("Collect about 700 more rows like these: they would probably settle brier;")


def test_a_gap_that_fails_names_its_slices_without_a_gain() -> None:
    part = SliceResult(column="c", value="v", rows=50, verdict=Verdict.FAIL, candidate=interval(0.9, 0.01), champion=None,
                       difference=None, reason="")  # fmt: skip
    found = said("FAIL", result("gap", "recall", "FAIL", value=0.05, candidate=interval(0.2, 0.01), slices=[part]))
    assert found == ["recall between slices is stopped by c = v (50 rows). Look first at what the candidate gets wrong there."]


@pytest.mark.parametrize(("task", "noun"), [("ranking", "queries"), ("scores", "items"), ("binary", "rows")])
def test_evidence_is_counted_in_what_the_task_compares(task: str, noun: str) -> None:
    open_rule = result("superior", "m", "INCONCLUSIVE", difference=interval(-0.01, 0.02), more_rows=3456)
    (text, clusters) = advise(Verdict.INCONCLUSIVE, [open_rule], rows=1000, clusters=8, task=task)
    assert text.startswith(f"Collect about 3,500 more {noun} like these")
    assert clusters == f"Collect {noun} of at least 2 more clusters: more {noun} of the same 8 add next to nothing."
    covered = result("label_coverage", "", "INCONCLUSIVE", value=0.9, more_rows=50)
    (text,) = advise(Verdict.INCONCLUSIVE, [covered], rows=1000, clusters=None, task=task)
    assert text.startswith("Collect about 50 more rows")
