"""The tables. Times are microseconds UTC in BigInteger; JSON documents are text, so that ``sqlite3`` shows them as they are."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, Integer, MetaData, PrimaryKeyConstraint, Table, Text

metadata = MetaData()

runs = Table(
    "runs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("experiment", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("author", Text, nullable=False),
    Column("environment", Text),
    Index("runs_by_experiment", "experiment", "started_at"),
)

run_params = Table(
    "run_params",
    metadata,
    Column("run_id", Text, ForeignKey("runs.id"), nullable=False),
    Column("key", Text, nullable=False),
    Column("value", Text, nullable=False),
    PrimaryKeyConstraint("run_id", "key"),
    Index("run_params_by_key", "key", "value"),
)

run_tags = Table(
    "run_tags",
    metadata,
    Column("run_id", Text, ForeignKey("runs.id"), nullable=False),
    Column("key", Text, nullable=False),
    Column("value", Text, nullable=False),
    PrimaryKeyConstraint("run_id", "key"),
    Index("run_tags_by_key", "key", "value"),
)

run_artifacts = Table(
    "run_artifacts",
    metadata,
    Column("run_id", Text, ForeignKey("runs.id"), nullable=False),
    Column("path", Text, nullable=False),
    Column("digest", Text, nullable=False),
    PrimaryKeyConstraint("run_id", "path"),
)

# One row per metric of a run: its summary serves search, its points hang on its id. NULL in a value column is NaN.
metrics = Table(
    "metrics",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("run_id", Text, ForeignKey("runs.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("points", Integer, nullable=False),
    Column("last", Float),
    Column("last_step", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("min", Float),
    Column("max", Float),
    Index("metrics_by_run", "run_id", "name", unique=True),
    Index("metrics_by_name", "name", "last"),
)

metric_points = Table(
    "metric_points",
    metadata,
    Column("metric_id", Integer, ForeignKey("metrics.id"), nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("value", Float),
    Index("metric_points_by_metric", "metric_id", "step"),
)

# How far each writer's journal was taken in: what makes a repeated ingest harmless.
journal_positions = Table(
    "journal_positions",
    metadata,
    Column("run_id", Text, nullable=False),
    Column("writer", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    PrimaryKeyConstraint("run_id", "writer"),
)

catalog = Table(
    "catalog",
    metadata,
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("digest", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("summary", Text, nullable=False),
    PrimaryKeyConstraint("kind", "name", "number", "digest"),
)

documents = Table(
    "documents",
    metadata,
    Column("kind", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    PrimaryKeyConstraint("kind", "id"),
    Index("documents_by_subject", "kind", "subject", "at"),
)

step_runs = Table(
    "step_runs",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("run_id", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("pipeline", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Index("step_runs_by_run", "run_id", "step", unique=True),
    Index("step_runs_by_key", "key"),
    Index("step_runs_by_step", "pipeline", "step"),
)

online_rows = Table(
    "online_rows",
    metadata,
    Column("view", Text, nullable=False),
    Column("definition", Text, nullable=False),
    Column("entity", Text, nullable=False),
    Column("event_at", BigInteger, nullable=False),
    Column("written_at", BigInteger, nullable=False),
    Column("payload", Text, nullable=False),
    PrimaryKeyConstraint("view", "definition", "entity"),
)
