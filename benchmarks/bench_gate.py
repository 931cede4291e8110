"""A verdict on a million rows: two models, accuracy, F1, AUC, log loss and Brier score, on all rows and on 50 slices, with 95% intervals.

Every time is of a process of its own on one core, from the file to the report; memory is the process's peak. Beside it, with the same
rows already in memory: the plain paired bootstrap with NumPy and scikit-learn, and Fairlearn's MetricFrame with ``n_boot``, which
knows one model and counts here for two. Both are extrapolated to 1,000 resamples from the few that were run.

The stream is a Parquet file of 100 million rows (label, two float32 probabilities, a column of 50 slices): accuracy, F1, log loss and Brier.
``make bench ARGS="gate --stream-rows 10000000"`` streams a smaller one.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from measure import Row, spread, time_in_turn
from peers import find_peer
from tidegate import frames
from tidegate.gate.evidence import Evidence
from tidegate.gate.metrics import parse_metric

ROWS = 1_000_000
STREAM_ROWS = 100_000_000
SLICES = 50
RESAMPLES = 1000
TRIED = {"bootstrap": 20, "fairlearn": 4}
ROUNDS = 5
METRICS = "accuracy,f1,roc_auc,log_loss,brier"
ADDITIVE = "accuracy,f1,log_loss,brier"
PROGRAMS = Path(__file__).parent / "programs"


def measure() -> list[Row]:
    """Seconds and memory of ours, of the peers, of the bootstrap over cells, of the stream."""
    with tempfile.TemporaryDirectory() as folder:
        file, arrays = Path(folder) / "rows.parquet", Path(folder) / "rows.npz"
        _write(file, ROWS)
        with frames.connect() as con:
            np.savez(arrays, **frames.to_columns(frames.relation(con, file)))
        return [*_against_peers(file, arrays), _cells(), *_stream(Path(folder) / "large.parquet")]


def _against_peers(file: Path, arrays: Path) -> list[Row]:
    found = [_run(sys.executable, "gate_check.py", str(file), METRICS, "region") for _ in range(ROUNDS)]
    seconds = [each["seconds"] for each in found]
    ours = statistics.median(seconds)
    rows = [
        Row("a million rows: tidegate", ours, "s", spread(seconds), 3.0, f"verdict {found[0]['verdict']}"),
        Row("a million rows, memory: tidegate", max(each["memory_mb"] for each in found), "MB", budget=1000.0),
    ]
    each = _run(sys.executable, "gate_bootstrap.py", str(arrays), str(TRIED["bootstrap"]))
    theirs = statistics.median(each) * RESAMPLES
    note = f"from {TRIED['bootstrap']} resamples; {theirs / ours:,.0f} times ours"
    rows.append(Row("a million rows: NumPy and scikit-learn bootstrap", theirs, "s", spread(each, scale=RESAMPLES), note=note))
    peer = find_peer("fairlearn")
    if peer is not None:
        frames_of = TRIED["fairlearn"] + 1  # the frame itself costs what a resample does
        theirs = 2 * _run(str(peer), "gate_fairlearn.py", str(arrays), str(TRIED["fairlearn"])) / frames_of * RESAMPLES
        note = f"two models, from {TRIED['fairlearn']} resamples; {theirs / ours:,.0f} times ours"
        rows.append(Row("a million rows: Fairlearn MetricFrame", theirs, "s", note=note))
    return rows


def _cells() -> Row:
    """The bootstrap alone: all three intervals of F1, once the rows are counted."""
    chance = np.random.default_rng(0)
    labels = chance.random(ROWS)
    models = [np.clip(labels + scale * chance.normal(size=ROWS), 0, 1) for scale in (0.1, 0.2)]
    evidence = Evidence("binary", (labels > 0.6).astype(np.float64), *models)
    additive = parse_metric("f1", "binary").additive
    if additive is None:
        raise RuntimeError("F1 is no longer made of counts")
    state = additive.gather(evidence, None, 1)
    seconds = time_in_turn({"": lambda: additive.settle(state, 0, 0.95, np.random.default_rng(0))}, rounds=4 * ROUNDS)[""]
    return Row("10,000 resamples of F1 by cells", statistics.median(seconds) * 1000, "ms", spread(seconds, scale=1000), 20.0)


def _stream(file: Path) -> list[Row]:
    _write(file, STREAM_ROWS)
    found = _run(sys.executable, "gate_check.py", str(file), ADDITIVE, "region", cores=False)
    name = f"{found['rows']:,} rows streamed"
    note = f"{found['rows'] / found['seconds'] / 1e6:.1f} million rows a second; verdict {found['verdict']}"
    return [Row(name, found["seconds"], "s", note=note), Row(f"{name}, memory", found["memory_mb"], "MB", budget=4000.0)]


def _run(interpreter: str, program: str, *arguments: str, cores: bool = True) -> Any:
    """What a program found; on one core unless it is said otherwise."""
    pinned = ["taskset", "-c", str(min(os.sched_getaffinity(0)))] if cores else []
    one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"} if cores else {}
    call = [*pinned, interpreter, str(PROGRAMS / program), *arguments]
    done = subprocess.run(call, capture_output=True, text=True, check=True, env=os.environ | one)
    line = next(line for line in done.stdout.splitlines() if line.startswith("FOUND "))
    return json.loads(line.removeprefix("FOUND "))


def _write(file: Path, rows: int) -> None:
    """Labels, a good and a worse model's probabilities, and a column of 50 values."""
    with frames.connect() as con:
        con.execute("SELECT setseed(0.5)")
        con.execute("SET preserve_insertion_order = false")
        con.execute(
            f"""
            COPY (
                SELECT (random() < p)::TINYINT AS y,
                    least(greatest(p + 0.1 * (random() - 0.5), 0.001), 0.999)::FLOAT AS new,
                    least(greatest(p + 0.3 * (random() - 0.5), 0.001), 0.999)::FLOAT AS old,
                    (i % {SLICES})::TINYINT AS region
                FROM (SELECT i, random() AS p FROM range({rows}) AS numbers(i))
            ) TO {frames.literal(str(file))} (FORMAT parquet, ROW_GROUP_SIZE 500000)
            """
        )
