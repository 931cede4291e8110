"""Evaluation rows that the candidate was trained on: found by content, counted, shown; what cannot be known is not cleared."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from gate_subjects import case, rule, version

from tidegate.clock import Clock
from tidegate.data import Datasets
from tidegate.gate.rules import decide
from tidegate.gate.rules import similar as similar_rows
from tidegate.records.report import RuleResult
from tidegate.records.verdict import Verdict
from tidegate.store import Store

START = datetime(2013, 1, 1)  # noqa: DTZ001 - frames hold UTC without a zone


def _frame(n: int, seed: int, *, first: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "flight": np.arange(first, first + n),
            "wind": rng.normal(size=n),
            "carrier": rng.choice(["UA", "AA", "DL"], n).tolist(),
            "late": rng.integers(0, 2, n),
            "tail": [f"N{first + row}" for row in range(n)],
            "at": [START + timedelta(hours=first + row) for row in range(n)],
        }
    )


class Desk:
    """Training rows, evaluation rows, and a candidate that takes wind and carrier."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.datasets = Datasets(store.bucket, store.catalog, clock)
        self.train = _frame(400, 1)
        self.evaluation = _frame(200, 2, first=400)

    def judged(self, *, trained_on: list[str] | None = None, gate: dict[str, Any] | None = None, **keys: Any) -> RuleResult:
        refs = [self.datasets.snapshot(self.train, "train").ref] if trained_on is None else trained_on
        snapshot = self.datasets.snapshot(self.evaluation, "eval")
        found = case(self.store, self.datasets, version(trained_on=refs), snapshot=snapshot, **(gate or {}))
        return decide(rule("leakage", **keys), found, confidence=0.95, seed=0)


@pytest.fixture
def desk(store: Store, clock: Clock) -> Desk:
    return Desk(store, clock)


def _leaks(desk: Desk, count: int) -> None:
    """The first rows of the evaluation are rows of the training, under other keys."""
    copied = desk.train.head(count).with_columns(flight=pl.Series(np.arange(400, 400 + count)))
    desk.evaluation = pl.concat([copied, desk.evaluation.tail(200 - count)])


def test_other_rows_pass(desk: Desk) -> None:
    found = desk.judged()
    assert (found.verdict, found.candidate.estimate) == (Verdict.PASS, 0)
    assert found.reason == "No evaluation row is among the rows of train@1, by 3 columns."


def test_the_same_rows_are_found_counted_and_shown(desk: Desk) -> None:
    _leaks(desk, 30)
    found = desk.judged(gate={"key": "flight"})
    assert found.problem is not None
    assert (found.verdict, found.problem.code) == (Verdict.INVALID, "leakage")
    assert (found.details["same_rows"], found.details["same_share"]) == (30, 0.15)
    assert "30 of 200 evaluation rows (15%) stand in train@1" in found.reason
    assert [row.key for row in found.shown] == [str(400 + row) for row in range(20)]
    assert desk.judged(value=0.15).verdict is Verdict.PASS
    assert desk.judged(value=0.149).verdict is Verdict.INVALID


def test_columns_say_by_what_rows_are_the_same(desk: Desk) -> None:
    _leaks(desk, 30)
    assert desk.judged(columns=["flight"]).verdict is Verdict.PASS
    assert "(by tail)" in desk.judged(columns=["tail"]).reason
    missing = desk.judged(columns=["fligt"])
    assert missing.problem is not None
    assert missing.problem.code == "column-missing"
    assert "'flight'" in missing.reason


def test_a_row_is_the_same_in_another_type(desk: Desk) -> None:
    _leaks(desk, 30)
    desk.evaluation = desk.evaluation.with_columns(pl.col("wind").cast(pl.Float32), pl.col("late").cast(pl.Float64))
    assert desk.judged().details["same_rows"] == 30
    desk.train = desk.train.with_columns(wind=pl.lit(None, pl.Float64))
    desk.evaluation = desk.evaluation.with_columns(wind=pl.lit(float("nan")), late=pl.col("late").cast(pl.Boolean))
    assert desk.judged(columns=["wind", "carrier"]).details["same_rows"] == 200


def test_groups_on_both_sides(desk: Desk) -> None:
    desk.evaluation = desk.evaluation.with_columns(tail=pl.Series(["N7", "N8", None, *[f"X{row}" for row in range(197)]]))
    found = desk.judged(group="tail")
    assert (found.verdict, found.details["group_rows"]) == (Verdict.INVALID, 2)
    assert [row.note for row in found.shown] == ["its tail was trained on"] * 2
    assert desk.judged(group="tail", value=0.01).verdict is Verdict.PASS


def test_training_after_the_first_evaluation_row(desk: Desk) -> None:
    assert desk.judged(time="at").verdict is Verdict.PASS
    desk.evaluation = desk.evaluation.with_columns(pl.col("at") - timedelta(hours=41))
    found = desk.judged(time="at")
    assert (found.verdict, found.details["later_rows"], found.details["later_share"]) == (Verdict.INVALID, 40, 0.1)
    assert desk.judged(time="at", value=0.1).verdict is Verdict.PASS
    desk.train = desk.train.with_columns(at=pl.lit(None, pl.Datetime))
    assert desk.judged(time="at").verdict is Verdict.INCONCLUSIVE


def test_near_duplicates(desk: Desk) -> None:
    shaken = desk.train.head(10).with_columns(pl.col("wind") + 1e-9)
    desk.evaluation = pl.concat([shaken, desk.evaluation.tail(190)])
    assert desk.judged().details["same_rows"] == 0
    found = desk.judged(near=0.9999999)
    assert (found.verdict, found.details["near_rows"]) == (Verdict.INVALID, 10)
    assert float(found.shown[0].note.split()[0]) >= 0.9999999
    other = desk.evaluation.with_columns(late=1 - pl.col("late"))
    desk.evaluation = other
    assert desk.judged(near=0.9999999).details["near_rows"] == 0  # another label is another row


def test_near_duplicates_are_those_that_a_plain_loop_finds(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similar_rows, "CHUNK", 64)
    near = 0.995
    desk.evaluation = desk.evaluation.with_columns(rain=pl.col("wind") * 2).with_columns(
        pl.when(pl.int_range(pl.len()) % 9 == 0).then(None).otherwise(pl.col("rain")).alias("rain")
    )
    desk.train = desk.train.with_columns(rain=pl.col("wind") * 2)
    found = desk.judged(near=near, columns=["wind", "rain", "carrier", "late"])
    ours, theirs = (frame.select("wind", "rain").to_numpy() for frame in (desk.evaluation, desk.train))
    known = ours[~np.isnan(ours[:, 1])]
    filled = np.nan_to_num(ours)
    low, high = np.quantile(filled, [0.01, 0.99], axis=0)
    same = np.array(
        [
            [mine[0] == other[0] and mine[1] == other[1] for other in desk.train.select("carrier", "late").rows()]
            for mine in desk.evaluation.select("carrier", "late").rows()
        ]
    )
    far = np.abs((ours[:, None] - theirs[None]) / (high - low)).sum(axis=2) / 3  # two numbers, and one for all that must be equal
    expected = int((np.where(same & ~np.isnan(far), 1 - far, 0).max(axis=1) >= near).sum())
    assert 0 < expected < len(known)
    assert found.details["near_rows"] == expected


def test_a_sample_of_rows_cannot_clear_all(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similar_rows, "SAMPLE", 50)
    desk.train, desk.evaluation = (
        frame.with_columns(pl.col("wind") + shift) for frame, shift in ((desk.train, 0), (desk.evaluation, 50))
    )
    found = desk.judged(near=0.999)
    assert (found.verdict, found.details["near_rows"]) == (Verdict.INCONCLUSIVE, 0)
    assert "may be some" in found.reason
    assert desk.judged(near=0.999, value=0.1).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("trained_on", "words"), [([], "nobody recorded what it was trained on"), (["gone@3"], "gone@3, which is not there")]
)
def test_unknown_training_rows_are_not_cleared(desk: Desk, trained_on: list[str], words: str) -> None:
    found = desk.judged(trained_on=trained_on)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert words in found.reason


def test_training_rows_without_the_columns_are_not_cleared(desk: Desk) -> None:
    raw = desk.datasets.snapshot(desk.train.drop("wind"), "raw")
    lookup = desk.datasets.snapshot(pl.DataFrame({"carrier": ["UA"], "airline": ["United"]}), "airlines")
    train = desk.datasets.snapshot(desk.train, "train")
    found = desk.judged(trained_on=[raw.ref, train.ref])
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "has no column 'wind'" in found.reason
    assert desk.judged(trained_on=[raw.ref, train.ref], columns=["tail"]).verdict is Verdict.PASS
    assert desk.judged(trained_on=[lookup.ref]).verdict is Verdict.INCONCLUSIVE
    beside = desk.judged(trained_on=[lookup.ref, train.ref])
    assert beside.verdict is Verdict.PASS
    assert "Not compared, as they hold no late: airlines@1" in beside.reason


def test_a_training_snapshot_that_was_changed_is_invalid(desk: Desk) -> None:
    train = desk.datasets.snapshot(desk.train, "train")
    digest = train.files[0].digest
    path = desk.store.bucket.local(f"objects/sha256/{digest[:2]}/{digest[2:]}")
    assert path is not None
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    found = desk.judged(trained_on=[train.ref])
    assert found.problem is not None
    assert (found.verdict, found.problem.code) == (Verdict.INVALID, "object-changed")


MILLION = """
import resource, sys
from pathlib import Path

sys.path.insert(0, {tests!r})
from gate_subjects import case, column, rule, version

from tidegate import frames
from tidegate.clock import Clock
from tidegate.data import Datasets
from tidegate.gate.rules import decide
from tidegate.store import open_store

folder = Path({folder!r})
store = open_store(folder / "store")
datasets = Datasets(store.bucket, store.catalog, Clock.replay(0))
numbers = ", ".join(f"hash(range + {{{{first}}}}, {{each}}) / 1.8e19 AS x{{each}}" for each in range(8))
for name, first in (("train", 0), ("eval", 999_000)):
    with frames.connect() as con:
        rows = con.sql(f"SELECT {{numbers.format(first=first)}}, range % 2 AS late, 'N' || (range % 5000) AS tail FROM range(1_000_000)")
        frames.write_parquet(rows, folder / f"{{name}}.parquet")
    datasets.snapshot(folder / f"{{name}}.parquet", name)
candidate = version(2, [column(f"x{{each}}") for each in range(8)], trained_on=["train@1"])
asked = case(store, datasets, candidate, snapshot=datasets.get("eval@1"))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = decide(rule("leakage", group="tail"), asked, confidence=0.95, seed=0)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(found.verdict, int(found.details["same_rows"]), int(found.details["group_rows"]), grown // 1024)
"""


@pytest.mark.slow
def test_a_million_rows_against_a_million_stay_small(tmp_path: Path) -> None:
    program = MILLION.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    verdict, same, group, megabytes = done.stdout.split()
    assert (verdict, int(same), int(group)) == ("INVALID", 1000, 1_000_000)
    assert int(megabytes) < 500
