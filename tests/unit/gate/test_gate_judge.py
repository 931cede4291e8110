"""Real versions, real snapshots: both predict the same frozen rows, and nothing that goes wrong passes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from gate_rows import rule
from sklearn.linear_model import LinearRegression, LogisticRegression

from tidegate.clock import DAY, Clock, parse_time
from tidegate.data import Datasets
from tidegate.errors import UsageError
from tidegate.gate import History, Judgement, Subject, judge, parse_model_policy
from tidegate.gate.outputs import CANDIDATE
from tidegate.models import Candidate, Models
from tidegate.records.dataset import Snapshot
from tidegate.records.model import ModelVersion
from tidegate.records.policy import ModelPolicy
from tidegate.records.verdict import Verdict
from tidegate.store import Store

CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: flights
name: flights
version: 1.0.0
status: active
schema:
  - name: flights
    properties:
      - {name: wind, logicalType: number}
      - {name: rain, logicalType: number}
      - {name: dep_delay, logicalType: number, customProperties: [{property: availability, value: later}]}
      - {name: origin, logicalType: string}
      - {name: late, logicalType: integer}
"""

NOON = parse_time("2013-06-01T12:00:00+00:00")


def _frame(n: int, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    wind, rain = rng.normal(size=n), rng.normal(size=n)
    late = rng.random(n) < 1 / (1 + np.exp(-(1.5 * wind + rain - 0.5)))
    return pl.DataFrame(
        {
            "wind": wind, "rain": rain, "dep_delay": 10.0 * late + rng.normal(size=n),
            "origin": rng.choice(["EWR", "JFK"], n).tolist(), "late": late.astype(np.int64),
        }
    )  # fmt: skip


class Desk:
    """A store with an evaluation snapshot, and models trained on other rows."""

    def __init__(self, store: Store, clock: Clock, folder: Path) -> None:
        self.datasets = Datasets(store.bucket, store.catalog, clock)
        self.models = Models(store.bucket, store.catalog, clock)
        (folder / "contract.yaml").write_text(CONTRACT)
        self.train = _frame(1500, 1)
        self.snapshot = self.datasets.snapshot(_frame(1500, 2), "flights-eval", contract=folder / "contract.yaml")

    def version(self, *columns: str, trained_on: tuple[str, ...] = (), digest: str = "", labels: Any = None) -> ModelVersion:
        example = self.train.select(columns)
        fitted = LogisticRegression().fit(example.to_numpy(), self.train["late"].to_numpy() if labels is None else labels)
        candidate = Candidate("delay", fitted, example.head(200), "binary", trained_on=list(trained_on), training_digest=digest)
        return self.models.register(candidate)

    def snapshot_with(self, golden: pl.Expr) -> Snapshot:
        return self.datasets.snapshot(_frame(1500, 2).with_columns(golden.alias("golden")), "flights-golden")

    def judge(self, candidate: ModelVersion, champion: ModelVersion | None = None, **changes: Any) -> Judgement:
        history = changes.pop("history", History())
        keys: dict[str, Any] = {"models": self.models, "datasets": self.datasets, "snapshot": self.snapshot, "policy": policy()}
        return judge(Subject(candidate=candidate, champion=champion, **({"now": NOON} | keys | changes)), history)


def policy(*rules: dict[str, Any], **keys: Any) -> ModelPolicy:
    gate = {"snapshot": "flights-eval@1", "label": "late", "rules": list(rules) or [rule("log_loss")]}
    return parse_model_policy("delay", {"task": "binary", "gate": gate | {"baseline": {"kind": "constant"}} | keys})


@pytest.fixture
def desk(store: Store, clock: Clock, tmp_path: Path) -> Desk:
    return Desk(store, clock, tmp_path)


def _codes(judgement: Judgement) -> list[str]:
    assert judgement.report.verdict is Verdict.INVALID
    return [problem.code for problem in judgement.report.problems]


def test_a_better_candidate_passes_and_a_worse_fails(desk: Desk) -> None:
    poor, good = desk.version("rain"), desk.version("wind", "rain")
    asked = policy(rule("log_loss"), rule("roc_auc", "not_worse", slices=["origin"], margin=0.01))
    found = desk.judge(good, poor, policy=asked)
    assert found.report.verdict is Verdict.PASS, found.report.sentence
    assert found.report.title == f"{good.ref} against {poor.ref} on flights-eval@1"
    assert len(found.predictions["late"]) == 1500
    assert desk.judge(poor, good, policy=asked).report.verdict is Verdict.FAIL


def test_the_first_version_must_beat_the_baseline(desk: Desk) -> None:
    found = desk.judge(desk.version("wind", "rain"))
    assert (found.report.verdict, found.report.champion) == (Verdict.PASS, "baseline constant")
    noise = desk.version("wind", labels=np.random.default_rng(0).integers(0, 2, 1500))
    assert desk.judge(noise).report.verdict is Verdict.FAIL
    column = policy(rule("roc_auc"), baseline={"kind": "column", "column": "late"})
    assert desk.judge(desk.version("wind", "rain"), policy=column).report.verdict is Verdict.FAIL
    declared = policy(baseline={"kind": "constant", "value": 0.9})
    assert desk.judge(desk.version("wind", "rain"), policy=declared).report.verdict is Verdict.PASS


def test_without_a_champion_something_must_be_declared(desk: Desk) -> None:
    gate = {"snapshot": "flights-eval@1", "label": "late", "rules": [rule("log_loss")]}
    bare = parse_model_policy("delay", {"task": "binary", "gate": gate})
    assert _codes(desk.judge(desk.version("wind"), policy=bare)) == ["no-baseline"]
    floor = parse_model_policy("delay", {"task": "binary", "gate": gate | {"rules": [rule("roc_auc", "floor", value=0.6)]}})
    assert desk.judge(desk.version("wind"), policy=floor).report.verdict is Verdict.PASS


def test_a_peek_into_the_future_is_invalid(desk: Desk) -> None:
    found = desk.judge(desk.version("wind", "dep_delay"))
    assert _codes(found) == ["feature-not-available"]
    assert "dep_delay" in found.report.sentence


def test_the_label_as_an_input_is_invalid(desk: Desk) -> None:
    found = desk.judge(desk.version("wind", "late"))
    assert _codes(found) == ["label-is-input"]
    assert "late" in found.report.sentence


def test_training_on_the_evaluation_rows_is_invalid(desk: Desk) -> None:
    again = desk.datasets.snapshot(_frame(1500, 2), "other-name")
    for version in (
        desk.version("wind", trained_on=("flights-eval@1",)),
        desk.version("rain", digest=desk.snapshot.digest),
        desk.version("wind", "rain", trained_on=(again.ref,)),
    ):
        assert _codes(desk.judge(version)) == ["leakage"]


def test_leakage_that_cannot_be_ruled_out_is_told(desk: Desk) -> None:
    known = desk.datasets.snapshot(_frame(500, 3), "other-rows")
    for trained_on, expected in (((known.ref,), []), ((), ["lineage-unknown"]), (("gone@3",), ["lineage-unknown"])):
        found = desk.judge(desk.version("rain", "wind", trained_on=trained_on))
        assert found.report.verdict is Verdict.PASS
        assert [warning.code for warning in found.report.warnings] == expected


def test_a_champion_that_saw_the_rows_is_a_warning(desk: Desk) -> None:
    champion = desk.version("rain", trained_on=("flights-eval@1",))
    found = desk.judge(desk.version("wind", "rain"), champion)
    assert found.report.verdict is Verdict.PASS
    assert [warning.code for warning in found.report.warnings] == ["lineage-unknown", "champion-saw-snapshot"]


def test_an_input_that_the_snapshot_lacks_is_invalid(desk: Desk) -> None:
    desk.train = desk.train.with_columns(winds=pl.col("wind"))
    found = desk.judge(desk.version("winds"))
    assert _codes(found) == ["input-missing"]
    assert "'wind'" in found.report.problems[0].what


@pytest.mark.parametrize("key", ["label", "key", "cluster", "weight"])
def test_a_policy_that_names_no_column_is_invalid(desk: Desk, key: str) -> None:
    assert _codes(desk.judge(desk.version("wind"), policy=policy(**{key: "nope"})))[0] == "column-missing"


def test_a_policy_for_another_task_is_invalid(desk: Desk) -> None:
    gate = {"snapshot": "flights-eval@1", "label": "late", "rules": [rule("mae", "floor", value=1)]}
    other = parse_model_policy("delay", {"task": "regression", "gate": gate})
    assert _codes(desk.judge(desk.version("wind"), policy=other)) == ["task-differs"]


def test_a_tampered_snapshot_or_package_is_invalid(desk: Desk, store: Store) -> None:
    version = desk.version("wind")
    for digest in (version.manifest.files[0].digest, desk.snapshot.files[0].digest):
        path = store.bucket.local(f"objects/sha256/{digest[:2]}/{digest[2:]}")
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-1] + b"!")
        assert _codes(desk.judge(version)) == ["object-changed"]


class Loaded:
    """A model that answers as the test says."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def load(self, version: ModelVersion | str, *, allow_code: bool = False) -> Loaded:
        return self

    def predict(self, columns: Mapping[str, object]) -> dict[str, Any]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return {"probability": self.answer[: len(columns["wind"])]}  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (RuntimeError("out of luck"), "prediction-failed"),
        (np.full(1500, np.nan), "prediction-missing"),
        (np.full(1500, 1.5), "probability-out-of-range"),
        (np.full(1499, 0.5), "prediction-failed"),
        (np.array(["high"] * 1500, dtype=object), "not-numeric"),
    ],
)
def test_a_model_that_misbehaves_is_invalid(desk: Desk, answer: Any, code: str) -> None:
    assert _codes(desk.judge(desk.version("wind"), models=Loaded(answer))) == [code]


class Drawing(Loaded):
    """A model that answers by chance."""

    def predict(self, columns: Mapping[str, object]) -> dict[str, Any]:
        return {"probability": self.answer.random(len(columns["wind"]))}  # pyright: ignore[reportArgumentType]


def test_a_model_that_answers_by_chance_is_invalid(desk: Desk) -> None:
    found = desk.judge(desk.version("wind"), models=Drawing(np.random.default_rng(0)))
    assert _codes(found) == ["prediction-unstable"]
    assert "answers 0." in found.report.problems[0].what


def test_a_model_that_takes_the_label_under_another_name_is_invalid(desk: Desk) -> None:
    rows = _frame(1500, 2)
    copied = desk.datasets.snapshot(rows.with_columns(rain=pl.col("late").cast(pl.Float64)), "copied")
    found = desk.judge(desk.version("wind", "rain"), snapshot=copied)
    assert _codes(found) == ["label-is-input"]
    assert "rain" in found.report.problems[0].what
    once = desk.datasets.snapshot(rows.with_columns(rain=pl.col("late") + (pl.int_range(pl.len()) == 7)), "but-once")
    assert desk.judge(desk.version("wind", "rain"), snapshot=once).report.problems == []


def test_a_snapshot_without_rows_or_labels_is_invalid(desk: Desk) -> None:
    unlabelled = desk.datasets.snapshot(_frame(100, 3).with_columns(late=pl.lit(None, pl.Int64)), "unlabelled")
    assert _codes(desk.judge(desk.version("wind"), snapshot=unlabelled))[0] == "label-missing"


def test_a_model_without_a_gate_cannot_be_judged(desk: Desk) -> None:
    with pytest.raises(UsageError, match="no gate"):
        desk.judge(desk.version("wind"), policy=parse_model_policy("delay", {"task": "binary"}))


def _sky(rows: pl.DataFrame) -> Any:
    return np.where(rows["wind"] > 0.5, "gale", np.where(rows["rain"] > 0, "wet", "fair"))


def _judge_sky(desk: Desk, *versions: ModelVersion, labels: Any = None, **gate: Any) -> Judgement:
    rows = _frame(600, 5)
    sky = desk.datasets.snapshot(
        rows.with_columns(sky=pl.Series((_sky(rows) if labels is None else labels).tolist())), "sky-eval"
    )
    asked = {"snapshot": "sky-eval", "label": "sky", "rules": [rule("log_loss"), rule("accuracy")]} | gate
    return desk.judge(*versions, policy=parse_model_policy("sky", {"task": "multiclass", "gate": asked}), snapshot=sky)


def _sky_version(desk: Desk, *columns: str, without: str = "") -> ModelVersion:
    train = desk.train.with_columns(sky=pl.Series(_sky(desk.train).tolist())).filter(pl.col("sky") != without)
    fitted = LogisticRegression(max_iter=500).fit(train.select(columns).to_numpy(), train["sky"].to_list())
    return desk.models.register(Candidate("sky", fitted, train.select(columns).head(200), "multiclass"))


def test_classes_are_judged_by_their_probabilities(desk: Desk) -> None:
    good, poor = _sky_version(desk, "wind", "rain"), _sky_version(desk, "rain")
    found = _judge_sky(desk, good, poor)
    assert found.report.verdict is Verdict.PASS, found.report.sentence
    assert f"{CANDIDATE}: gale" in found.predictions
    shares = np.stack([found.predictions[f"{CANDIDATE}: {name}"] for name in ("fair", "gale", "wet")], axis=1)
    assert np.allclose(shares.sum(axis=1), 1, atol=1e-5)
    assert _judge_sky(desk, poor, good).report.verdict is Verdict.FAIL
    assert _judge_sky(desk, good, baseline={"kind": "constant"}).report.verdict is Verdict.PASS


def test_a_class_that_the_candidate_never_saw_is_invalid(desk: Desk) -> None:
    good, blind = _sky_version(desk, "wind", "rain"), _sky_version(desk, "wind", "rain", without="gale")
    found = _judge_sky(desk, blind, good)
    assert _codes(found) == ["class-unknown"]
    assert "'gale'" in found.report.problems[0].what


def test_a_baseline_of_classes_leaves_only_decisions_to_compare(desk: Desk) -> None:
    good = _sky_version(desk, "wind", "rain")
    column = {"kind": "column", "column": "sky"}
    found = _judge_sky(desk, good, baseline=column, rules=[rule("accuracy")])
    assert found.report.verdict is Verdict.FAIL
    assert _codes(_judge_sky(desk, good, baseline=column, rules=[rule("log_loss")])) == ["rule-not-computable"]


def test_other_tasks(desk: Desk) -> None:
    train = desk.train
    linear = LinearRegression().fit(train.select("wind", "late").to_numpy(), train["dep_delay"].to_numpy())
    version = desk.models.register(Candidate("minutes", linear, train.select("wind", "late").head(50), "regression"))
    asked = {"snapshot": "flights-eval@1", "label": "dep_delay", "rules": [rule("rmse")], "baseline": {"kind": "constant"}}
    plain = desk.datasets.snapshot(_frame(1500, 2), "plain")
    regression = parse_model_policy("minutes", {"task": "regression", "gate": asked})
    assert desk.judge(version, policy=regression, snapshot=plain).report.verdict is Verdict.PASS
    classes = np.where(train["wind"] > 0.5, "gale", np.where(train["rain"] > 0, "wet", "fair"))
    fitted = LogisticRegression(max_iter=500).fit(train.select("wind", "rain").to_numpy(), classes)
    version = desk.models.register(Candidate("sky", fitted, train.select("wind", "rain").head(200), "multiclass"))
    rows = _frame(600, 5)
    labels = np.where(rows["wind"] > 0.5, "gale", np.where(rows["rain"] > 0, "wet", "fair"))
    sky = desk.datasets.snapshot(rows.with_columns(sky=pl.Series(labels.tolist())), "sky-eval")
    asked = {"snapshot": "sky-eval", "label": "sky", "rules": [rule("accuracy")], "baseline": {"kind": "constant"}}
    found = desk.judge(version, policy=parse_model_policy("sky", {"task": "multiclass", "gate": asked}), snapshot=sky)
    assert found.report.verdict is Verdict.PASS, found.report.sentence


def test_rules_about_models_and_snapshots(desk: Desk) -> None:
    train = desk.datasets.snapshot(desk.train, "flights-train")
    champion = desk.version("rain", "wind", labels=np.random.default_rng(0).permutation(desk.train["late"].to_numpy()))
    candidate = desk.version("wind", "rain", trained_on=(train.ref,))
    golden = desk.snapshot_with(pl.col("wind").abs() > 2.5)
    asked = policy(
        rule("log_loss"),
        {"test": "flips", "value": 0.5, "slices": ["origin"]},
        {"test": "schema"},
        {"test": "size", "value": 1.0},
        {"test": "latency", "value": 10.0, "relative": True},
        {"test": "leakage", "columns": ["wind", "rain", "late"]},
        {"test": "freshness", "max_age": "1d"},
        {"test": "golden", "rows": "golden"},
    )
    found = desk.judge(candidate, champion, policy=asked, snapshot=golden).report
    verdicts = {result.test: result.verdict for result in found.rules}
    assert verdicts.pop("golden") is Verdict.FAIL  # nobody has all of them right
    assert set(verdicts.values()) == {Verdict.PASS}, [result.reason for result in found.rules]
    assert found.rules[-1].shown


def test_an_anchor_is_judged_against_where_not_worse_is_asked(desk: Desk) -> None:
    poor, fair, good = desk.version("rain"), desk.version("wind"), desk.version("wind", "rain")
    asked = policy(rule("log_loss", "not_worse", margin=0.01), rule("roc_auc", "floor", value=0.6))
    alone = desk.judge(fair, poor, policy=asked).report
    assert (alone.verdict, alone.anchor, len(alone.rules)) == (Verdict.PASS, "", 2)
    found = desk.judge(fair, poor, policy=asked, history=History(anchor=good)).report
    assert (found.verdict, found.anchor) == (Verdict.FAIL, good.ref)
    assert [(result.test, result.against, result.verdict) for result in found.rules] == [
        ("not_worse", "", Verdict.PASS),
        ("floor", "", Verdict.PASS),
        ("not_worse", "anchor", Verdict.FAIL),
    ]
    assert found.rules[2].candidate == found.rules[0].candidate


def test_labels_that_are_still_to_come(desk: Desk) -> None:
    late = pl.when(pl.int_range(pl.len()) % 10 == 0).then(None).otherwise(pl.col("late"))
    part = desk.datasets.snapshot(_frame(1500, 2).with_columns(late.alias("late")), "part")
    asked = policy(rule("log_loss"), {"test": "label_coverage", "value": 0.8})
    found = desk.judge(desk.version("wind", "rain"), policy=asked, snapshot=part).report
    assert (found.verdict, found.rows) == (Verdict.PASS, 1350)
    assert "rows-without-label" in [warning.code for warning in found.warnings]


def test_a_rule_that_cannot_be_judged_tells_its_code(desk: Desk) -> None:
    version = desk.version("wind", trained_on=(desk.datasets.snapshot(desk.train, "flights-train").ref,))
    found = desk.judge(version, policy=policy({"test": "leakage", "columns": ["winds"]}))
    assert _codes(found) == ["column-missing"]
    stale = desk.judge(version, policy=policy({"test": "freshness", "max_age": "1d"}), now=NOON + 2 * DAY)
    assert _codes(stale) == ["snapshot-stale"]
    assert "too old" in stale.report.sentence
