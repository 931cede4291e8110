"""Builds a project as a team would leave it: data, runs, versions, verdicts, a ledger, windows, alerts, a decision.

Everything goes through the public rooms. Some texts are hostile on purpose: whatever a page shows of them must be text.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from sklearn.linear_model import LogisticRegression

from tidegate.clock import DAY, HOUR, parse_time
from tidegate.loop import Decisions
from tidegate.models import Candidate
from tidegate.monitoring import Labels, PredictionLog
from tidegate.records.decision import DecisionState
from tidegate.records.serving import Prediction
from tidegate.workspace import Workspace

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>{{ 7 * 7 }}</script>"
START = parse_time("2013-06-01T00:00:00+00:00")
DAYS = 21
FEATURES = ["distance", "wind", "previous_delay"]

POLICY = """
[models.delay]
task = "binary"
owner = "ops-ml"
[models.delay.gate]
snapshot = "flights-eval@1"
label = "late"
receipt_lifetime = "60d"
[models.delay.gate.baseline]
kind = "constant"
[[models.delay.gate.rules]]
metric = "log_loss"
test = "superior"
[[models.delay.gate.rules]]
metric = "accuracy"
test = "not_worse"
margin = 0.01
slices = ["carrier"]
[models.delay.release]
approvals = 1
approval_lifetime = "60d"
[models.delay.monitoring]
window = "1d"
label_wait = "1d"
metrics = ["log_loss", "roc_auc"]
time = "at"
minimum_rows = 100
[models.delay.retrain]
pipeline = "pipelines:train"
"""


def flights(rows: int, start: int, days: int, *, seed: int, drift: float = 0.0) -> pl.DataFrame:
    """Rows with three features, a carrier, an event time and a label that depends on the features."""
    random = np.random.default_rng(seed)
    distance = random.gamma(4, 250, rows)
    wind = random.gamma(2, 5, rows) + drift * 6
    previous = random.exponential(12, rows)
    chance = 1 / (1 + np.exp(2.2 - 0.05 * wind * (1 - drift) - 0.06 * previous - 0.0002 * distance))
    at = start + np.sort(random.integers(0, days * DAY, rows))
    return pl.DataFrame(
        {
            "distance": distance.astype(np.float32),
            "wind": wind.astype(np.float32),
            "previous_delay": previous.astype(np.float32),
            "carrier": random.choice(["AA", "DL", "UA"], rows),
            "at": pl.Series(at).cast(pl.Datetime("us")),
            "late": (random.random(rows) < chance).astype(np.int64),
        }
    )


def build_project(folder: Path) -> None:
    """Makes the project in an empty folder. The clock stands at different days of 2013."""
    folder.mkdir(parents=True)
    (folder / "tidegate.toml").write_text(POLICY, encoding="utf-8")
    author = Workspace.open(folder, now="2013-06-01T09:00:00+00:00", actor="ana")
    boss = Workspace.open(folder, now="2013-06-01T10:00:00+00:00", actor="bo")
    training = flights(4000, START - 40 * DAY, 20, seed=1)
    author.datasets.snapshot(training, "flights-train", message="April")
    author.datasets.snapshot(flights(6000, START - 20 * DAY, 20, seed=2), "flights-eval", message=HOSTILE)
    _runs(author)
    for number, columns in enumerate((FEATURES[:1], FEATURES), start=1):
        register(author, training, columns)
        judgement = author.judge(f"delay@{number}")
        if judgement.receipt.verdict == "PASS":
            boss.release.approve("delay", number, policy=boss.policy("delay"), comment=HOSTILE)
            author.release.promote("delay", number, policy=author.policy("delay"))
    _serve(author)
    later = Workspace.open(folder, now="2013-06-30T08:00:00+00:00", actor="cron")
    later.monitor("delay").close_windows(later.clock.now())
    decisions = Decisions(later.store.documents, "cron")
    decisions.open("delay", trigger="alert", reason=f"performance: log_loss crossed its bound {HOSTILE}", now=later.clock.now())
    decisions.move(decisions.get("delay-0001"), DecisionState.DECLINED, note=HOSTILE, now=later.clock.now() + HOUR)
    boss.release.freeze("delay", reason=HOSTILE)
    boss.release.unfreeze("delay", reason="over")
    for workspace in (author, boss, later):
        workspace.store.close()


def register(workspace: Workspace, rows: pl.DataFrame, columns: list[str]) -> None:
    estimator = LogisticRegression(max_iter=500).fit(rows.select(columns).to_numpy(), rows["late"].to_numpy())
    example = {name: rows[name].to_numpy()[:300] for name in columns}
    candidate = Candidate(
        name="delay",
        estimator=estimator,
        example=pl.DataFrame(example),
        task="binary",
        description=f"Will the flight be late? Takes {', '.join(columns)}.",
        trained_on=["flights-train@1"],
    )
    with workspace.runs.start("delay", name=f"train {len(columns)} features", params={"features": len(columns), "C": 1.0}) as run:
        for step in range(40):
            run.log(step=step, loss=0.7 - 0.2 * (1 - np.exp(-step / 10)) - 0.02 * len(columns), accuracy=0.6 + 0.004 * step)
        run.artifact(b"<script>alert(3)</script>", "reports/notes.html")
    workspace.register(candidate, run_id=run.id, pipeline="pipelines:train")


def _runs(workspace: Workspace) -> None:
    with workspace.runs.start("hostile", name=HOSTILE, params={HOSTILE: HOSTILE}, tags={HOSTILE: HOSTILE}) as run:
        for step in range(5):
            run.log(step=step, **{HOSTILE: float(step), "nan": float("nan") if step == 2 else float("inf") if step == 3 else 1.0})
        run.artifact(b"x", HOSTILE.replace("/", "_"))
    with workspace.runs.start("delay", name="a longer run", params={"features": 2, "C": 0.1}) as run:
        for step in range(3000):
            run.log(step=step, loss=0.7 - 0.0001 * step + (5.0 if step == 1234 else 0.0))


def _serve(workspace: Workspace) -> None:
    """Predictions of version 2 for three weeks, worse and worse; labels for all but the last days."""
    version = workspace.models.get("delay@latest")
    predictor = workspace.models.load(version)
    log, labels = PredictionLog(workspace.store.bucket, "delay"), Labels(workspace.store.bucket, "delay")
    random = np.random.default_rng(3)
    for day in range(DAYS):
        rows = flights(260, START + day * DAY, 1, seed=100 + day, drift=max(0.0, (day - 12) / 10))
        answers = predictor.predict({name: rows[name].to_numpy() for name in version.manifest.signature.input_names})
        at = rows["at"].to_physical().to_list()
        log.append(
            [
                Prediction(
                    id=f"{day:03d}-{index:05d}",
                    model="delay",
                    version=version.version,
                    event_at=at[index],
                    served_at=at[index] + 2000,
                    seconds=float(random.gamma(3, 0.001)),
                    inputs={name: rows[name][index] for name in version.manifest.signature.input_names},
                    outputs={"probability": float(answers["probability"][index]), "label": int(answers["label"][index])},
                )
                for index in range(rows.height)
            ]
        )
        labels.add(
            pl.DataFrame(
                {
                    "prediction_id": [f"{day:03d}-{index:05d}" for index in range(rows.height)],
                    "label": rows["late"],
                    "known_at": rows["at"].dt.offset_by("6h"),
                }
            )
        )
