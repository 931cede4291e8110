from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from tidegate.store.sql import database
from tidegate.store.sql.tables import metadata


def config(connection):
    made = Config()
    made.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    made.attributes["connection"] = connection
    return made


def test_the_migrations_end_where_the_code_says():
    assert ScriptDirectory.from_config(config(None)).get_current_head() == database.NEWEST


def test_up_gives_the_tables_and_down_takes_them_away(tmp_path):
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'm.db'}")
    with engine.begin() as connection:
        command.upgrade(config(connection), "head")
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        command.downgrade(config(connection), "base")
        assert set(sa.inspect(connection).get_table_names()) == {"alembic_version"}
    engine.dispose()
