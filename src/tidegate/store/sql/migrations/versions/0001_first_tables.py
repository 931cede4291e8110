"""The first tables.

The columns stand here in full, and not as a reference to ``tables.py``: a migration must do in a year what it does today.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

# Postgres would sort by the language of its database.
_TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, _TEXT, nullable=False)


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _of_run() -> sa.Column[str]:
    return sa.Column("run_id", _TEXT, sa.ForeignKey("runs.id"), nullable=False)


def upgrade() -> None:
    """Makes the tables."""
    _runs()
    _metrics()
    _records()


def _runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", _TEXT, primary_key=True),
        _text("experiment"),
        _text("name"),
        _text("state"),
        _big("started_at"),
        sa.Column("ended_at", sa.BigInteger()),
        _text("author"),
        sa.Column("environment", _TEXT),
    )
    op.create_index("runs_by_experiment", "runs", ["experiment", "started_at"])
    for table in ("run_params", "run_tags"):
        op.create_table(table, _of_run(), _text("key"), _text("value"), sa.PrimaryKeyConstraint("run_id", "key"))
        # An index of Postgres holds no more than 2.7 kB.
        postgres = op.get_bind().dialect.name == "postgresql"
        op.create_index(f"{table}_by_key", table, ["key", sa.text("left(value, 200)") if postgres else "value"])
    op.create_table("run_artifacts", _of_run(), _text("path"), _text("digest"), sa.PrimaryKeyConstraint("run_id", "path"))


def _metrics() -> None:
    op.create_table(
        "metrics",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=True),
        _of_run(),
        _text("name"),
        sa.Column("points", sa.Integer(), nullable=False),
        sa.Column("last", sa.Float()),
        _big("last_step"),
        _big("last_at"),
        sa.Column("min", sa.Float()),
        sa.Column("max", sa.Float()),
    )
    op.create_index("metrics_by_run", "metrics", ["run_id", "name"], unique=True)
    op.create_index("metrics_by_name", "metrics", ["name", "last"])
    op.create_table(
        "metric_points",
        sa.Column("metric_id", sa.Integer(), sa.ForeignKey("metrics.id"), nullable=False),
        _big("step"),
        _big("at"),
        sa.Column("value", sa.Float()),
    )
    op.create_index("metric_points_by_metric", "metric_points", ["metric_id", "step"])
    op.create_table(
        "journal_positions", _text("run_id"), _text("writer"), _big("seq"), sa.PrimaryKeyConstraint("run_id", "writer")
    )


def _records() -> None:
    op.create_table(
        "catalog",
        _text("kind"),
        _text("name"),
        sa.Column("number", sa.Integer(), nullable=False),
        _text("digest"),
        _text("key"),
        _big("created_at"),
        _text("summary"),
        sa.PrimaryKeyConstraint("kind", "name", "number", "digest"),
    )
    op.create_table(
        "documents",
        _text("kind"),
        _text("id"),
        _text("subject"),
        _text("state"),
        _big("at"),
        _text("body"),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "id"),
    )
    op.create_index("documents_by_subject", "documents", ["kind", "subject", "at"])
    op.create_table(
        "step_runs",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=True),
        _text("run_id"),
        _text("step"),
        _text("pipeline"),
        _text("state"),
        _text("key"),
        _big("started_at"),
        _text("body"),
    )
    op.create_index("step_runs_by_run", "step_runs", ["run_id", "step"], unique=True)
    op.create_index("step_runs_by_key", "step_runs", ["key"])
    op.create_index("step_runs_by_step", "step_runs", ["pipeline", "step"])
    op.create_table(
        "online_rows",
        _text("view"),
        _text("definition"),
        _text("entity"),
        _big("event_at"),
        _big("written_at"),
        _text("payload"),
        sa.PrimaryKeyConstraint("view", "definition", "entity"),
    )


def downgrade() -> None:
    """Drops them again."""
    for table in (
        "online_rows",
        "step_runs",
        "documents",
        "catalog",
        "journal_positions",
        "metric_points",
        "metrics",
        "run_artifacts",
        "run_tags",
        "run_params",
        "runs",
    ):
        op.drop_table(table)
