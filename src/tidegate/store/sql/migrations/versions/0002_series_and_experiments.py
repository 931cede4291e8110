"""Experiments as rows of their own, deletion, heartbeats, inputs, artifacts with sizes, packed series."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from tidegate.errors import RefusedError
from tidegate.records.run import lower_is_better
from tidegate.store.chunks import Columns, decode, encode, from_raw, header, joined, ordered, split

revision = "0002"
down_revision = "0001"

_TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
_CHUNK = 1000


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, _TEXT, nullable=False)


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def upgrade() -> None:
    """Makes the new tables and moves what the old ones held."""
    _experiments()
    _artifacts()
    _series()
    op.create_table(
        "run_inputs",
        sa.Column("run_id", _TEXT, sa.ForeignKey("runs.id"), nullable=False),
        _text("name"),
        _text("digest"),
        _text("body"),
        sa.PrimaryKeyConstraint("run_id", "name", "digest"),
    )
    op.create_index("run_inputs_by_name", "run_inputs", ["name", "digest"])
    _indexes_for_search()


def _indexes_for_search() -> None:
    op.create_index("runs_for_search", "runs", ["id", "deleted_at", "started_at", "experiment_id"])
    deleted = sa.text("deleted_at IS NOT NULL")
    op.create_index("runs_deleted", "runs", ["deleted_at"], sqlite_where=deleted, postgresql_where=deleted)
    for table in ("run_params", "run_tags"):
        op.drop_index(f"{table}_by_key", table)
        op.create_index(f"{table}_by_key", table, ["key", _value(), "run_id"])
    op.drop_index("metrics_by_name", "metrics")
    op.create_index("metrics_by_name", "metrics", ["name", "last", "run_id"])
    op.create_index("metrics_by_name_and_run", "metrics", ["name", "run_id", "last", "min", "max", "best", "points"])


def _value() -> Any:
    return sa.text("left(value, 200)") if op.get_bind().dialect.name == "postgresql" else "value"


def _without_indexes_for_search() -> None:
    op.drop_index("metrics_by_name_and_run", "metrics")
    op.drop_index("metrics_by_name", "metrics")
    op.create_index("metrics_by_name", "metrics", ["name", "last"])
    for table in ("run_params", "run_tags"):
        op.drop_index(f"{table}_by_key", table)
        op.create_index(f"{table}_by_key", table, ["key", _value()])
    op.drop_index("runs_deleted", "runs")
    op.drop_index("runs_for_search", "runs")


def _experiments() -> None:
    op.create_table(
        "experiments",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("name", _TEXT, nullable=False, unique=True),
        _big("created_at"),
        _big("updated_at"),
        sa.Column("deleted_at", sa.BigInteger()),
        _text("location"),
        _text("tags"),
    )
    op.execute(
        "INSERT INTO experiments (name, created_at, updated_at, location, tags) "
        "SELECT experiment, min(started_at), max(started_at), '', '{}' FROM runs GROUP BY experiment ORDER BY min(started_at)"
    )
    op.add_column("runs", sa.Column("experiment_id", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("runs", sa.Column("heard_at", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("runs", sa.Column("deleted_at", sa.BigInteger()))
    op.execute("UPDATE runs SET experiment_id = (SELECT id FROM experiments WHERE experiments.name = runs.experiment)")
    op.drop_index("runs_by_experiment", "runs")
    op.drop_column("runs", "experiment")
    op.create_index("runs_by_experiment", "runs", ["experiment_id", "started_at", "deleted_at", "id"])
    op.create_index("runs_by_start", "runs", ["started_at", "deleted_at", "experiment_id", "id"])


def _artifacts() -> None:
    op.create_table(
        "artifacts", _text("owner"), _text("path"), _text("digest"), _big("size"), sa.PrimaryKeyConstraint("owner", "path")
    )
    op.create_index("artifacts_by_digest", "artifacts", ["digest"])
    # How large they are was not recorded before: -1.
    op.execute("INSERT INTO artifacts (owner, path, digest, size) SELECT run_id, path, digest, -1 FROM run_artifacts")
    op.drop_table("run_artifacts")


def _series() -> None:
    op.add_column("metrics", sa.Column("loose", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("metrics", sa.Column("best", sa.Float()))
    full = sa.text("loose >= 1000")
    op.create_index("metrics_to_pack", "metrics", ["run_id"], sqlite_where=full, postgresql_where=full)
    op.create_table(
        "metric_loose",
        sa.Column("metric_id", sa.Integer(), nullable=False),
        _big("position"),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("metric_id", "position"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "metric_chunks",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("metric_id", sa.Integer(), sa.ForeignKey("metrics.id"), nullable=False),
        sa.Column("points", sa.Integer(), nullable=False),
        sa.Column("nans", sa.Integer(), nullable=False),
        _big("first_step"),
        _big("last_step"),
        _big("first_at"),
        _big("last_at"),
        sa.Column("min", sa.Float()),
        sa.Column("max", sa.Float()),
        sa.Column("last", sa.Float()),
        sa.Column("sum", sa.Float()),
        sa.Column("data", sa.LargeBinary(), nullable=False),
    )
    op.create_index("metric_chunks_by_metric", "metric_chunks", ["metric_id", "first_step"])
    _pack()
    op.drop_table("metric_points")


def _pack() -> None:
    connection = op.get_bind()
    points = sa.table("metric_points", *(sa.column(name) for name in ("metric_id", "step", "at", "value")))
    chunks = sa.table("metric_chunks", *(sa.column(name) for name in _HEADER), sa.column("data", sa.LargeBinary))
    metrics = _metrics()
    for metric in connection.execute(sa.select(metrics.c.id, metrics.c.name, metrics.c.min, metrics.c.max)).all():
        rows = connection.execute(sa.select(points.c.step, points.c.at, points.c.value).where(points.c.metric_id == metric.id))
        columns = ordered(_columns(rows.all()))
        for part in split(columns, _CHUNK) if len(columns.steps) else []:
            values = {"metric_id": metric.id, **header(part)._asdict(), "data": encode(part)}
            connection.execute(sa.insert(chunks).values(**values))
        best = metric.min if lower_is_better(metric.name) else metric.max
        connection.execute(sa.update(metrics).where(metrics.c.id == metric.id).values(best=best, points=len(columns.steps)))


_HEADER = ["metric_id", "points", "nans", "first_step", "last_step", "first_at", "last_at", "min", "max", "last", "sum"]


def _metrics() -> sa.TableClause:
    return sa.table("metrics", *(sa.column(name) for name in ("id", "name", "min", "max", "best", "points")))


def _columns(rows: Any) -> Columns:
    return Columns(
        np.array([row.step for row in rows], np.int64),
        np.array([row.at for row in rows], np.int64),
        np.array([math.nan if row.value is None else row.value for row in rows], np.float64),
    )


def downgrade() -> None:
    """Goes back to the tables of 0001 with every run and point. Lost are heartbeats and the sizes of artifacts.

    Raises:
        RefusedError: the store holds what has no place there: something deleted (it would come back), tags and locations of
            experiments, inputs, or artifacts of something other than a run.
    """
    _refuse_losses()
    _unpack()
    _without_indexes_for_search()
    op.drop_table("metric_chunks")
    op.drop_table("metric_loose")
    op.drop_table("run_inputs")
    op.drop_index("metrics_to_pack", "metrics")
    op.drop_column("metrics", "best")
    op.drop_column("metrics", "loose")
    op.create_table(
        "run_artifacts",
        sa.Column("run_id", _TEXT, sa.ForeignKey("runs.id"), nullable=False),
        _text("path"),
        _text("digest"),
        sa.PrimaryKeyConstraint("run_id", "path"),
    )
    op.execute(
        "INSERT INTO run_artifacts (run_id, path, digest) SELECT owner, path, digest FROM artifacts WHERE owner IN (SELECT id FROM runs)"
    )
    op.drop_table("artifacts")
    op.add_column("runs", sa.Column("experiment", _TEXT, nullable=False, server_default=""))
    op.execute("UPDATE runs SET experiment = (SELECT name FROM experiments WHERE experiments.id = runs.experiment_id)")
    op.drop_index("runs_by_start", "runs")
    op.drop_index("runs_by_experiment", "runs")
    for column in ("deleted_at", "heard_at", "experiment_id"):
        op.drop_column("runs", column)
    op.create_index("runs_by_experiment", "runs", ["experiment", "started_at"])
    op.drop_table("experiments")


def _refuse_losses() -> None:
    holds = {
        "deleted runs": "runs WHERE deleted_at IS NOT NULL",
        "deleted experiments": "experiments WHERE deleted_at IS NOT NULL",
        "experiments with tags or a location": "experiments WHERE tags != '{}' OR location != ''",
        "experiments without a run": "experiments WHERE id NOT IN (SELECT experiment_id FROM runs)",
        "inputs of runs": "run_inputs",
        "artifacts of something other than a run": "artifacts WHERE owner NOT IN (SELECT id FROM runs)",
    }
    connection = op.get_bind()
    for what, source in holds.items():
        count = connection.execute(sa.text(f"SELECT count(*) FROM {source}")).scalar_one()
        if count:
            raise RefusedError(
                "downgrade-would-lose",
                f"{count} {what} have no place in the tables of revision 0001",
                why="nothing is thrown away by going back",
                fix="remove them first, or keep this version",
            )


def _unpack() -> None:
    op.create_table(
        "metric_points",
        sa.Column("metric_id", sa.Integer(), sa.ForeignKey("metrics.id"), nullable=False),
        _big("step"),
        _big("at"),
        sa.Column("value", sa.Float()),
    )
    op.create_index("metric_points_by_metric", "metric_points", ["metric_id", "step"])
    connection = op.get_bind()
    points = sa.table("metric_points", *(sa.column(name) for name in ("metric_id", "step", "at", "value")))
    metrics = _metrics()
    for metric_id in connection.execute(sa.select(metrics.c.id)).scalars().all():
        columns = ordered(joined(list(_parts(connection, metric_id))))
        rows = zip(*(column.tolist() for column in columns), strict=True)
        given = [
            {"metric_id": metric_id, "step": step, "at": at, "value": value if value == value else None}  # noqa: PLR0124
            for step, at, value in rows
        ]
        if given:
            connection.execute(sa.insert(points), given)
        connection.execute(sa.update(metrics).where(metrics.c.id == metric_id).values(points=len(given)))


def _parts(connection: sa.Connection, metric_id: int) -> Iterator[Columns]:
    for table, unpacked in (("metric_chunks", decode), ("metric_loose", from_raw)):
        query = sa.text(f"SELECT data FROM {table} WHERE metric_id = :metric")
        for data in connection.execute(query, {"metric": metric_id}).scalars():
            yield unpacked(data)
