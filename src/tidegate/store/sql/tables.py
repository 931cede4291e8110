"""The tables. Times are microseconds UTC in BigInteger; JSON documents are text, so that ``sqlite3`` shows them as they are.

The database gets them from the migrations, which say what differs on Postgres: there an index holds no more than 2.7 kB, so
``run_params_by_key`` and ``run_tags_by_key`` have only the beginning of the value.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    text,
)

from tidegate.store.sql.text import StoredText

TO_PACK = "loose >= 1000"
"""Which rows of ``metrics`` have a tail that has grown long enough to be packed."""

DELETED = "deleted_at IS NOT NULL"
PREFIX = 200
"""How many characters of a text Postgres indexes: an entry of its indexes has to stay below 2,700 bytes."""


def by_value(name: str) -> tuple[Index, Index]:
    """An index that finds runs by the value of a key, for each kind of database."""
    return (
        Index(name, "key", "value", "run_id").ddl_if(dialect="sqlite"),
        Index(name, "key", text(f"left(value, {PREFIX})"), "run_id").ddl_if(dialect="postgresql"),
    )


metadata = MetaData()

experiments = Table(
    "experiments",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("name", StoredText, nullable=False, unique=True),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),
    Column("location", StoredText, nullable=False),
    Column("tags", StoredText, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("id", StoredText, primary_key=True),
    Column("experiment_id", Integer, nullable=False, server_default="0"),
    Column("name", StoredText, nullable=False),
    Column("state", StoredText, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("heard_at", BigInteger, nullable=False, server_default="0"),
    Column("deleted_at", BigInteger),
    Column("author", StoredText, nullable=False),
    Column("environment", StoredText),
    Index("runs_by_experiment", "experiment_id", "started_at", "deleted_at", "id"),
    Index("runs_by_start", "started_at", "deleted_at", "experiment_id", "id"),
    Index("runs_for_search", "id", "deleted_at", "started_at", "experiment_id"),
    Index("runs_deleted", "deleted_at", sqlite_where=text(DELETED), postgresql_where=text(DELETED)),
)

run_params = Table(
    "run_params",
    metadata,
    Column("run_id", StoredText, ForeignKey("runs.id"), nullable=False),
    Column("key", StoredText, nullable=False),
    Column("value", StoredText, nullable=False),
    PrimaryKeyConstraint("run_id", "key"),
    *by_value("run_params_by_key"),
)

run_tags = Table(
    "run_tags",
    metadata,
    Column("run_id", StoredText, ForeignKey("runs.id"), nullable=False),
    Column("key", StoredText, nullable=False),
    Column("value", StoredText, nullable=False),
    PrimaryKeyConstraint("run_id", "key"),
    *by_value("run_tags_by_key"),
)

run_inputs = Table(
    "run_inputs",
    metadata,
    Column("run_id", StoredText, ForeignKey("runs.id"), nullable=False),
    Column("name", StoredText, nullable=False),
    Column("digest", StoredText, nullable=False),
    Column("body", StoredText, nullable=False),
    PrimaryKeyConstraint("run_id", "name", "digest"),
    Index("run_inputs_by_name", "name", "digest"),
)

# The owner is a run, or what an MLflow client calls a logged model or a trace.
artifacts = Table(
    "artifacts",
    metadata,
    Column("owner", StoredText, nullable=False),
    Column("path", StoredText, nullable=False),
    Column("digest", StoredText, nullable=False),
    Column("size", BigInteger, nullable=False),
    PrimaryKeyConstraint("owner", "path"),
    Index("artifacts_by_digest", "digest"),
)

# One row per metric of a run: its summary serves search, its points hang on its id. NULL in a value column is NaN.
# ``points`` counts a point again that was sent again until both meet in one packing.
metrics = Table(
    "metrics",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("run_id", StoredText, ForeignKey("runs.id"), nullable=False),
    Column("name", StoredText, nullable=False),
    Column("points", Integer, nullable=False),
    Column("loose", Integer, nullable=False, server_default="0"),
    Column("last", Float),
    Column("last_step", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("min", Float),
    Column("max", Float),
    Column("best", Float),
    Index("metrics_by_run", "run_id", "name", unique=True),
    # One is walked in the order of the values; the other keeps all that search asks of one metric together, run by run.
    Index("metrics_by_name", "name", "last", "run_id"),
    Index("metrics_by_name_and_run", "name", "run_id", "last", "min", "max", "best", "points"),
    # Nearly always empty: how an ingest finds what it has to pack.
    Index("metrics_to_pack", "run_id", sqlite_where=text(TO_PACK), postgresql_where=text(TO_PACK)),
)

# The loose tail of a series, a row per ingest; about a thousand points at a time are packed into a chunk.
metric_loose = Table(
    "metric_loose",
    metadata,
    Column("metric_id", Integer, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
    PrimaryKeyConstraint("metric_id", "position"),
    sqlite_with_rowid=False,
)

# A packed stretch of a series behind a header that a curve can be drawn from. Stretches may overlap. The bytes come last,
# so that SQLite reads the header alone from the row's own page.
metric_chunks = Table(
    "metric_chunks",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("metric_id", Integer, ForeignKey("metrics.id"), nullable=False),
    Column("points", Integer, nullable=False),
    Column("nans", Integer, nullable=False),
    Column("first_step", BigInteger, nullable=False),
    Column("last_step", BigInteger, nullable=False),
    Column("first_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("min", Float),
    Column("max", Float),
    Column("last", Float),
    Column("sum", Float),
    Column("data", LargeBinary, nullable=False),
    Index("metric_chunks_by_metric", "metric_id", "first_step"),
)

# How far each writer's journal was taken in: what makes a repeated ingest harmless.
journal_positions = Table(
    "journal_positions",
    metadata,
    Column("run_id", StoredText, nullable=False),
    Column("writer", StoredText, nullable=False),
    Column("seq", BigInteger, nullable=False),
    PrimaryKeyConstraint("run_id", "writer"),
)

catalog = Table(
    "catalog",
    metadata,
    Column("kind", StoredText, nullable=False),
    Column("name", StoredText, nullable=False),
    Column("number", Integer, nullable=False),
    Column("digest", StoredText, nullable=False),
    Column("key", StoredText, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("summary", StoredText, nullable=False),
    PrimaryKeyConstraint("kind", "name", "number", "digest"),
)

documents = Table(
    "documents",
    metadata,
    Column("kind", StoredText, nullable=False),
    Column("id", StoredText, nullable=False),
    Column("subject", StoredText, nullable=False),
    Column("state", StoredText, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("body", StoredText, nullable=False),
    Column("revision", Integer, nullable=False),
    PrimaryKeyConstraint("kind", "id"),
    Index("documents_by_subject", "kind", "subject", "at"),
)

step_runs = Table(
    "step_runs",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("run_id", StoredText, nullable=False),
    Column("step", StoredText, nullable=False),
    Column("pipeline", StoredText, nullable=False),
    Column("state", StoredText, nullable=False),
    Column("key", StoredText, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("body", StoredText, nullable=False),
    Index("step_runs_by_run", "run_id", "step", unique=True),
    Index("step_runs_by_key", "key"),
    Index("step_runs_by_step", "pipeline", "step"),
)

online_rows = Table(
    "online_rows",
    metadata,
    Column("view", StoredText, nullable=False),
    Column("definition", StoredText, nullable=False),
    Column("entity", StoredText, nullable=False),
    Column("event_at", BigInteger, nullable=False),
    Column("written_at", BigInteger, nullable=False),
    Column("payload", StoredText, nullable=False),
    PrimaryKeyConstraint("view", "definition", "entity"),
)
