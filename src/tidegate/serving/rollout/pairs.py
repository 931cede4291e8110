"""The evidence of a rollout in the bucket: Parquet parts, ``monitoring/<model>/rollouts/<number>/pairs-<id>.parquet``.

A row of a part is a row of a request: ``prediction_id``, ``served_at`` (TIMESTAMP, UTC), ``place`` (the row's place in its request),
``step`` and ``share`` of the rollout then, ``point`` (where the key's hash lies, 0 to 1: the key itself is not kept), ``assigned`` (the
candidate was to answer), what each model said (``champion``, ``candidate``: a number, or a class's place among the champion's classes),
whether it failed (0 or 1), how long the candidate took (``seconds``), and ``dropped``: rows that were lost before this one. NULL is
what nobody asked.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate import digest, frames
from tidegate.frames import Columns
from tidegate.records.ids import new_id
from tidegate.stats.estimate import Floats
from tidegate.store.ports import Bucket

NOT_ASKED = float("nan")


class Pair(NamedTuple):
    """One request of a rollout and what the two models made of its rows; values are [rows], NaN where there is none."""

    ids: list[str]
    served_at: int
    step: int
    share: float
    point: float
    assigned: bool
    champion: Floats
    candidate: Floats
    champion_failed: float
    candidate_failed: float
    seconds: float


def folder(model: str, rollout: int) -> str:
    """``monitoring/delay/rollouts/00000042/``: by the ledger entry that started it."""
    return f"monitoring/{model}/rollouts/{rollout:08d}/"


def write_pairs(bucket: Bucket, model: str, rollout: int, pairs: Sequence[Pair], *, dropped: int = 0) -> None:
    """Writes one part; durable when this returns. To write the same list again after a failure writes nothing twice."""
    names = digest.of_bytes("\n".join(pair.ids[0] for pair in pairs).encode())
    name = new_id(pairs[0].served_at, int(names, 16) & ((1 << 70) - 1))
    with tempfile.TemporaryDirectory(prefix="tidegate-") as place, frames.connect() as con:
        path = Path(place, "part.parquet")
        frames.relation(con, _columns(pairs, dropped)).write_parquet(str(path), compression="zstd")
        bucket.put_if_absent(f"{folder(model, rollout)}pairs-{name}.parquet", path)


def read_pairs(con: frames.Connection, bucket: Bucket, model: str, rollout: int) -> frames.Relation | None:
    """All rows of a rollout, lazy, in no order; None if there are none yet."""
    keys = (key for key in bucket.keys(folder(model, rollout)) if key.rsplit("/", 1)[-1].startswith("pairs-"))
    paths = [str(bucket.local(key)) for key in keys]
    return con.read_parquet(paths, union_by_name=True) if paths else None  # pyright: ignore[reportArgumentType]  (the stub knows one path only)


def _columns(pairs: Sequence[Pair], dropped: int) -> Columns:
    rows = np.array([len(pair.ids) for pair in pairs])

    def each(values: list[Any], kind: Any) -> NDArray[Any]:
        return np.repeat(np.array(values, dtype=kind), rows)

    lost = np.zeros(int(rows.sum()), dtype=np.int64)
    lost[0] = dropped
    return {
        "prediction_id": np.array([row_id for pair in pairs for row_id in pair.ids], dtype=object),
        "served_at": each([pair.served_at for pair in pairs], "datetime64[us]"),
        "place": np.concatenate([np.arange(count) for count in rows]),
        "step": each([pair.step for pair in pairs], np.int64),
        "share": each([pair.share for pair in pairs], np.float64),
        "point": each([pair.point for pair in pairs], np.float64),
        "assigned": each([pair.assigned for pair in pairs], np.bool_),
        "champion": _nullable(np.concatenate([pair.champion for pair in pairs])),
        "candidate": _nullable(np.concatenate([pair.candidate for pair in pairs])),
        "champion_failed": _nullable(each([pair.champion_failed for pair in pairs], np.float64)),
        "candidate_failed": _nullable(each([pair.candidate_failed for pair in pairs], np.float64)),
        "seconds": _nullable(each([pair.seconds for pair in pairs], np.float64)),
        "dropped": lost,
    }


def _nullable(values: Floats) -> Any:
    return np.ma.masked_array(values, mask=np.isnan(values))
